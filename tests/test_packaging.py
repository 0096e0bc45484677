"""How the project is installed and started: sdist, wheel, console command, standard streams."""

import gc
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from common import ROOT, TEXT, main, metrics

import autograd
import nn.run.team
import tinygpt

TRAIN = "--max-iters 3 --eval-interval 2 --eval-iters 1 --n-layer 1 --n-embd 8".split()

# ---------------------------------------------------------------- sdist, wheel, console command


def build(kind, tree, out):
    """The file that setuptools builds from a tree, as pip asks it to; nothing is downloaded."""
    code = f"from setuptools import build_meta as b; print(b.build_{kind}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The unpacked sdist of a copy of this tree."""
    tmp = tmp_path_factory.mktemp("sdist")
    unwanted = ".git .venv build dist *.egg-info __pycache__ .*cache .hypothesis".split()
    tree = shutil.copytree(ROOT, tmp / "tree", ignore=shutil.ignore_patterns(*unwanted))
    with tarfile.open(build("sdist", tree, tmp)) as file:
        file.extractall(tmp, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return tmp / f"tinygpt_numpy-{autograd.__version__}"


def files_of(tree, *folders):
    """The names of the files of a tree, without what Python and pytest leave there."""
    paths = [path for folder in folders for path in (tree / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(tree)) for path in paths if "__pycache__" not in path.parts}


def test_the_sdist_has_all_that_its_tests_need(sdist):
    folders = "autograd nn tests docs benchmarks .ci .github".split()
    assert files_of(sdist, *folders) == files_of(ROOT, *folders)
    for name in "tinygpt.py pyproject.toml README.md CHANGELOG.md LICENSE".split():
        assert (sdist / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_wheel_is_installed_and_its_command_is_the_program(sdist, tmp_path):
    wheel = build("wheel", sdist, tmp_path)
    modules = {name for name in files_of(ROOT, "autograd", "nn") if not name.endswith(".pyc")}
    with zipfile.ZipFile(wheel) as file:
        packed = {name for name in file.namelist() if ".dist-info/" not in name}
    assert packed == {name.replace(os.sep, "/") for name in modules} | {"tinygpt.py"}
    assert {"autograd/py.typed", "nn/py.typed", "nn/run/command.py"} <= packed

    target = tmp_path / "with spaces, # and 한"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    options = ["--no-index", "--no-deps", "--no-compile", "--target", target]
    subprocess.run([*pip, *options, wheel], check=True)
    (command,) = (path for path in (target / "bin").iterdir() if path.stem == "tinygpt")
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def run(*words):
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr.splitlines()

    code, out, _ = run(command, "--version")
    assert not code and out.startswith(f"tinygpt-numpy {autograd.__version__}, Python ")
    for start, name in (
        ([command], "tinygpt"),
        ([sys.executable, "-m", "tinygpt"], "tinygpt.py"),
        ([sys.executable, target / "tinygpt.py"], "tinygpt.py"),
    ):
        code, out, err = run(*start, "generate", "nosuch")
        assert (code, out, len(err)) == (2, "", 1) and err[0].startswith(f"{name}: ")


def test_one_version(capsys):
    assert autograd.__version__ == nn.__version__ == tinygpt.__version__
    with pytest.raises(SystemExit) as stop:
        main("--version")
    assert not stop.value.code
    assert capsys.readouterr().out.startswith(f"tinygpt-numpy {autograd.__version__}, Python ")


@pytest.mark.parametrize("start, expected", [
    ("/bin/tinygpt", "/bin/tinygpt"), ("../tinygpt.py", "../tinygpt.py"),
    ("/lib/pytest/__main__.py", "here.py"), ("", "here.py"),
])  # fmt: skip
def test_processes_are_started_as_the_program_was(monkeypatch, start, expected):
    monkeypatch.setattr(sys, "argv", [start])
    assert nn.run.team.started_from("here.py") == expected


# ---------------------------------------------------------------- standard streams


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of three iterations, beside the text it was trained on."""
    directory = tmp_path_factory.mktemp("streams") / "run"
    (directory.parent / "text.txt").write_text(TEXT)
    main("train", directory.parent / "text.txt", "--out-dir", directory, *TRAIN)
    return directory


COMMANDS = {
    "example": [],
    "train": ["train", "text.txt", "--out-dir", "other", *TRAIN],
    "generate": ["generate", "run", "--max-new-tokens", "9"],
    "evaluate": ["evaluate", "run", "text.txt"],
    "plot": ["plot", "run"],
    "explain": ["explain", "run", "To be"],
}
each_command = pytest.mark.parametrize("command", COMMANDS)


def full_disk(buffering=-1):
    """A file that nothing can be written to, open for writing."""
    return open("/dev/full", "w", buffering)


def broken_pipe(buffering=-1):
    """A pipe that nobody reads, open for writing."""
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", buffering)


@pytest.fixture
def start(run, tmp_path, monkeypatch, short_reports, short_trainings):
    """A function that runs a command in a copy of the folder, and returns its exit code."""
    tree = shutil.copytree(run.parent, tmp_path / "tree")
    monkeypatch.chdir(tree)

    def start(command):
        code = 0
        try:
            main(*COMMANDS[command])
        except SystemExit as stop:
            code = stop.code
        if command == "train" and not code:
            assert len(metrics(tree / "other")) == 3
            assert (tree / "other" / "state.safetensors").exists()
        return code

    return start


@each_command
def test_closed_streams_are_no_error(command, start, monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    gc.collect()  # or files that earlier tests have left open are closed while this one counts
    before = os.listdir("/dev/fd") if os.path.exists("/dev/fd") else []
    assert start(command) == 0
    for name in ("stdin", "stdout", "stderr"):  # as a process they would stay open for its life
        os.close(getattr(sys, name).fileno())
    assert not before or len(os.listdir("/dev/fd")) == len(before)


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@needs_full
@each_command
def test_output_that_cannot_be_written_ends_all_but_a_training(command, start, monkeypatch, capsys):
    with full_disk() as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert start(command) == (0 if command == "train" else 2)
    errors = [line for line in capsys.readouterr().err.splitlines() if "tinygpt.py" in line]
    assert len(errors) == 1 and "cannot write the output" in errors[0]
    assert "No space left" in errors[0] and "Errno" not in errors[0]


@each_command
def test_output_that_nobody_reads_ends_all_but_a_training_quietly(
    command, start, monkeypatch, capsys
):
    with broken_pipe() as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert start(command) == 0
    errors = [line for line in capsys.readouterr().err.splitlines() if "tinygpt.py" in line]
    assert len(errors) == (command == "train")


@pytest.mark.parametrize("open_stream", [
    broken_pipe, pytest.param(full_disk, marks=needs_full),
], ids=["broken pipe", "full"])  # fmt: skip
def test_errors_that_cannot_be_told_change_no_exit_code(open_stream, start, monkeypatch):
    with open_stream(buffering=1) as stream:  # lines, as Python opens standard error
        monkeypatch.setattr(sys, "stderr", stream)
        assert start("train") == 0
    with open_stream(buffering=1) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(SystemExit) as stop:
            main("generate", "nosuch")
        assert stop.value.code == 2


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize("redirection, code", [
    ("<&- >&- 2>&-", 0), (">/dev/full 2>/dev/full", 2), ("2>&- | :", 0),
])  # fmt: skip
def test_a_process_ends_in_order(run, redirection, code):
    program = [sys.executable, str(ROOT / "tinygpt.py"), "evaluate", "run", "text.txt"]
    script = f'set -o pipefail; "$@" {redirection}'
    done = subprocess.run(["bash", "-c", script, "bash", *program], cwd=run.parent)
    assert done.returncode == code

