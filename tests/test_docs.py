"""README.md and docs/: their code runs and prints what they show, and what they name is there."""

import contextlib
import io
import itertools
import re
import shlex
from pathlib import Path

import pytest

import tinygpt

ROOT = Path(__file__).parent.parent
PATHS = [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in PATHS)
GUIDES = [name for name in DOCUMENTS if "/tour/" not in name and not re.search(r"\bko\b", name)]
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in DOCUMENTS}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMANDS = "train evaluate plot explain generate chat".split()
each_document = pytest.mark.parametrize("name", DOCUMENTS)


def blocks(name):
    """(language, content, line where the content begins) of all code blocks of a document."""
    text = TEXTS[name]
    return [(m[1], m[2], text[: m.start(2)].count("\n")) for m in FENCE.finditer(text)]


def prose(name):
    """The text of a document without its code blocks."""
    return FENCE.sub("", TEXTS[name])


# ---------------------------------------------------------------- code


@pytest.mark.parametrize("name", GUIDES)  # the others: test_tour.py
def test_code_prints_what_is_shown(name, tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "document"}
    all_blocks = [*blocks(name), ("", "", 0)]
    for (kind, code, line), (next_kind, shown, _) in itertools.pairwise(all_blocks):
        if kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * line + code, name, "exec"), namespace)
            expected = shown if printed.getvalue() else ""
            assert printed.getvalue() == expected, f"{name}, line {line}"
            assert next_kind == "text" or not expected, f"{name}, line {line}: show what it prints"


@each_document
def test_code_blocks_say_their_language(name):
    assert TEXTS[name].count("```") == 2 * len(blocks(name))
    assert {kind for kind, _, _ in blocks(name)} <= {"python", "sh", "text", "diff"}


# ---------------------------------------------------------------- commands


def shell_lines(name):
    """The command lines of a document's sh blocks, those that go on in the next line joined."""
    for kind, code, _ in blocks(name):
        if kind == "sh":
            yield from code.replace("\\\n", " ").splitlines()


def commands(name):
    """(script, its arguments) of each line that runs a file of this project."""
    lines = [*shell_lines(name), *re.findall(r"`(python [^`]+)`", prose(name))]
    for line in lines:
        for words in shell_commands(line):
            for i, word in enumerate(words):
                if word.endswith(".py") and words[i - 1].endswith("python"):
                    yield word, words[i + 1 :]


def shell_commands(line):
    """The words of each command of a line, without its comment."""
    words = shlex.split(line, comments=True)
    while "&&" in words:
        yield words[: words.index("&&")]
        words = words[words.index("&&") + 1 :]
    yield words


@each_document
def test_command_lines_are_understood(name):
    for script, arguments in commands(name):
        assert (ROOT / script).is_file(), script
        if script == "tinygpt.py":
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    tinygpt.parser().parse_args(arguments)
            except SystemExit as stop:
                assert not stop.code, f"{name}: {script} {' '.join(arguments)}"
        else:
            for flag in [word for word in arguments if word.startswith("--")]:
                assert f'"{flag}"' in (ROOT / script).read_text("utf-8"), f"{script} has no {flag}"


def test_every_command_of_the_program_is_documented():
    shown = [arguments for name in DOCUMENTS for _, arguments in commands(name)]
    assert set(COMMANDS) <= {arguments[0] for arguments in shown if arguments}


def flags():
    """All flags of all commands of the program."""
    printed = io.StringIO()
    for arguments in [["--help"], *([command, "--help"] for command in COMMANDS)]:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            tinygpt.parser().parse_args(arguments)
    return set(re.findall(r"--[a-z][a-z0-9-]*", printed.getvalue()))


@each_document
def test_flags_named_in_the_text_exist(name):
    scripts = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tests").rglob("*.py")]
    others = set(re.findall(r'"(--[a-z-]+)"', "".join(path.read_text("utf-8") for path in scripts)))
    spans = " ".join(re.findall(r"`([^`]+)`", prose(name)))
    assert set(re.findall(r"--[a-z][a-z0-9-]*", spans)) <= flags() | others


# ---------------------------------------------------------------- files and links


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= 200


def test_the_tree_of_the_readme_is_the_tree():
    tree = next(text for kind, text, _ in blocks("README.md") if text.startswith("autograd/"))
    folder, listed = "", set()
    for line in tree.splitlines():
        path, *more = line.split()
        if line.startswith("   "):
            continue  # the text of the line before
        folder = folder if line.startswith(" ") else ""
        files = itertools.takewhile(lambda name: name.endswith(".py"), more)
        listed |= {folder + name for name in (path, *files)}
        folder = path if path.endswith("/") else folder
    assert not [path for path in listed if not (ROOT / path).exists()]
    for package in ("autograd", "nn", "nn/run"):
        modules = {f"{package}/{path.name}" for path in (ROOT / package).glob("[a-z]*.py")}
        assert not modules - listed


def links(name):
    """The targets of the links and pictures of a document, but for those on the web."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(name))
    return [target for target in targets if not target.startswith(("http://", "https://"))]


def anchors(path):
    """The names by which GitHub links to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_links_lead_somewhere(name):
    for target in links(name):
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_the_readme_links_to_every_guide():
    assert {*GUIDES, "docs/tour/README.md"} - {"README.md"} <= set(links("README.md"))


@each_document
def test_files_named_in_the_text_exist(name):
    pattern = r"`((?:autograd|nn|tests|benchmarks|docs)/[\w/.]*)`"
    for path in re.findall(pattern, prose(name)):
        assert (ROOT / path).exists(), path
