"""docs/tour/ and its Korean twin: the code, what it prints, its pictures, notebooks and terms."""

import ast
import itertools
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import tinygpt
from docs.tour import __main__ as tour

ROOT = Path(__file__).parent.parent
TEXTS = {page.name: page.read_text("utf-8") for page in tour.PAGES}
NOTEBOOKS = dict(tour.notebooks())
each_page = pytest.mark.parametrize("name", TEXTS)


def test_there_are_ten_pages_of_at_most_150_lines():
    assert [name[:2] for name in TEXTS] == [f"{n:02}" for n in range(1, 11)]
    assert [name for name, text in TEXTS.items() if len(text.splitlines()) > 150] == []


@each_page
def test_a_page_is_what_its_code_gives(name, tmp_path, monkeypatch, registry):
    """Its outputs, what is new in its engine, and its picture."""
    monkeypatch.chdir(tmp_path)
    number = list(TEXTS).index(name)
    before = tour.engine(list(TEXTS.values())[number - 1]) if number else ""
    outputs = list(tour.run(tour.HERE / name))
    assert tour.written(TEXTS[name], outputs, before) == TEXTS[name]
    (drawn,) = tmp_path.glob("*.png")
    assert f"(pictures/{drawn.name})" in TEXTS[name]
    same_picture(drawn, tour.PICTURES / drawn.name)


def same_picture(*paths):
    """Of one version of Matplotlib in each square of 16 dots, of two versions as a whole."""
    pictures = [Image.open(path) for path in paths]
    one, two = (np.asarray(picture.convert("L"), float) / 255 for picture in pictures)
    assert one.shape == two.shape
    gap = np.abs(one - two)[: one.shape[0] // 16 * 16, : one.shape[1] // 16 * 16]
    gaps = gap.reshape(len(gap) // 16, 16, -1, 16).mean(axis=(1, 3))
    by = {picture.text["Software"].rpartition(".")[0] for picture in pictures}
    assert gaps.max() < 0.02 if len(by) == 1 else gaps.mean() < 0.05


def test_another_picture_is_noticed(tmp_path):
    """Of the same and of another version of Matplotlib."""
    path = tour.PICTURES / "training.png"
    for software, rows in [(Image.open(path).text["Software"], 16), ("Matplotlib 1.0.0", 160)]:
        notes = PngInfo()
        notes.add_text("Software", software)
        changed = np.asarray(Image.open(path)).copy()
        Image.fromarray(changed).save(tmp_path / "same.png", pnginfo=notes)
        same_picture(tmp_path / "same.png", path)
        changed[100 : 100 + rows, :, :3] = 0
        Image.fromarray(changed).save(tmp_path / "other.png", pnginfo=notes)
        with pytest.raises(AssertionError):
            same_picture(tmp_path / "other.png", path)


def test_each_picture_belongs_to_a_page():
    shown = re.findall(r"pictures/(.*\.png)", "".join(TEXTS.values()))
    assert sorted(shown) == sorted(path.name for path in tour.PICTURES.glob("*"))


def test_the_engine_grows_and_stays_below_sixty_lines():
    engines = [tour.engine(text) for text in list(TEXTS.values())[:5]]
    lengths = [len(code.splitlines()) for code in engines]
    assert lengths == sorted(lengths) and lengths[0] > 0 and lengths[-1] <= 60
    assert not any(tour.engine(text) for text in list(TEXTS.values())[5:])


@each_page
def test_no_term_is_used_before_the_page_that_explains_it(name):
    """A term is bold where it is explained. The text before that place does not use it."""
    before = itertools.takewhile(lambda text: text != TEXTS[name], TEXTS.values())
    pages, text = prose("".join(before)), prose(TEXTS[name])
    terms = list(re.finditer(r"\*\*([\w -]+)\.?\*\*", text))
    assert terms
    for term in terms:
        word = rf"(?<!cross )\b{term[1]}\b"  # "cross entropy" is another term than "entropy"
        assert not re.search(word, pages + text[: term.start()], re.IGNORECASE), term[1]


def prose(text):
    """What a reader reads: without code, links to other pages, and headings."""
    text = re.sub(r"^(#|\[The tour\]).*$", "", tour._FENCE.sub("", text), flags=re.MULTILINE)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_notebooks_are_those_of_the_pages(path):
    stale = f"{path.name} is stale: run python -m docs.tour --write"
    assert path.read_text("utf-8") == NOTEBOOKS[path], stale


def test_a_page_can_be_run_by_its_number(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tour.main(["2"])
    assert capsys.readouterr().out == "3.0 2.0 1.0\n7.0\n16777216.0 16777216\n"
    assert [path.name for path in tmp_path.iterdir()] == ["chain-rule.png"]
    monkeypatch.setitem(sys.modules, "numpy", None)
    for page, message in [(11, "There is no page 11: the pages are 1 to 10."),
                          (4, "This needs numpy: pip install -e '.[test]'")]:  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            tour.main([str(page)])
        assert stop.value.code == 2 and capsys.readouterr().err == message + "\n"


def test_a_notebook_says_if_the_project_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="Start Jupyter in the project's folder"):
        exec(tour._FIRST_CELL, {})


def test_the_example_explains_itself(tmp_path, monkeypatch, capsys, short_trainings):
    monkeypatch.chdir(tmp_path)
    printed = []
    for arguments in ([], ["--tour"]):
        tinygpt.main(arguments)
        printed.append(capsys.readouterr().out.splitlines())
    plain, explained = printed
    assert [line for line in explained if not line.startswith("  | ")] == plain
    notes = [line for line in explained if line.startswith("  | ")]
    assert len(explained) <= 32 and max(map(len, notes)) < 80
    pages = re.findall(r"\d+", " ".join(re.findall(r"\[page.*?\]", " ".join(notes))))
    assert set(map(int, pages)) == set(range(1, 11))
    (floor,) = re.findall(r"below ([\d.]+\d)", " ".join(notes))
    tokens = sum(len(sentence.split()) + 1 for sentence in tinygpt.CORPUS)
    assert floor == f"{5 * math.log(5) / tokens:.4f}"


def test_a_command_is_not_explained(capsys):
    with pytest.raises(SystemExit) as stop:
        tinygpt.main(["--tour", "plot", "run"])
    assert stop.value.code == 2
    assert "--tour explains the example, not plot" in capsys.readouterr().err


# ---------------------------------------------------------------- in Korean


KOREAN = {page.name: page.read_text("utf-8") for page in tour.KOREAN.glob("[0-9]*.md")}
README, README_KO = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.ko.md"))


def code(text):
    """The blocks of a page, python without its comments."""
    return [
        (kind, ast.dump(ast.parse(content)) if kind == "python" else content)
        for kind, content, _ in tour.blocks(text)
    ]


def outline(text):
    """The levels of the headings, the number of terms, and the pictures of a page."""
    text = tour._FENCE.sub("", text)
    return (
        re.findall(r"^#+", text, re.MULTILINE),
        len(re.findall(r"\*\*[^*]+\*\*", text)),
        re.findall(r"!\[.*\]\((?:\.\./tour/)?(.*)\)", text),
    )


@each_page
def test_a_korean_page_is_the_same_page(name):
    assert code(KOREAN[name]) == code(TEXTS[name])
    assert outline(KOREAN[name]) == outline(TEXTS[name])
    assert len(KOREAN[name].splitlines()) <= 150


def test_the_korean_pages_are_in_korean():
    assert sorted(KOREAN) == list(TEXTS)
    for text in [*KOREAN.values(), README_KO]:
        for paragraph in prose(text).split("\n\n"):
            assert not paragraph.strip(" \n|-:") or re.search("[가-힣]", paragraph), paragraph


def test_the_korean_readme_has_the_code_of_the_readme():
    """And an example of its own, which trains on a Korean text."""
    theirs, ours = (
        [re.sub(r" *#.*", "", content) if kind == "sh" else content for kind, content in code(text)]
        for text in (README, README_KO)
    )
    tree = next(content for content in theirs if content.startswith("autograd/"))
    own = [content for content in ours if "docs/ko/text.txt" in content]
    assert own and [content for content in theirs if content not in ours] == [tree]
