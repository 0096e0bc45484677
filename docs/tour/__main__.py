"""Run a page of the tour, or write anew what its code prints, its pictures and its notebook.

    python -m docs.tour 4          runs page 4; its picture comes into the current folder
    python -m docs.tour --write    after a change of pages: outputs, pictures, notebooks

A page is the only source. Its python blocks are run from top to bottom as one program; the text
block after one holds what it prints. The diff block of a page holds what is new in its engine.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import difflib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
KOREAN = HERE.parent / "ko"
PICTURES = HERE / "pictures"
PAGES = sorted(HERE.glob("[0-9][0-9]-*.md"))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r"^!\[.*\]\((?:\.\./tour/)?pictures/(.*)\)\n", re.MULTILINE)
_FIRST_CELL = """\
import sys
from pathlib import Path

folders = [Path.cwd(), *Path.cwd().parents]
root = next((folder for folder in folders if (folder / "tinygpt.py").exists()), None)
if root is None:
    raise FileNotFoundError(
        "The project is not here. Start Jupyter in the project's folder. In Colab, put the folder "
        "there first, with !git clone and its address, then %cd into it, and run "
        "!pip install -e '.[test]'"
    )
sys.path.insert(0, str(root))
"""


def blocks(text: str) -> list[tuple[str, str, int]]:
    """(language, content, line where the content begins) of the blocks of a page."""
    return [(m[1], m[2], text[: m.start(2)].count("\n")) for m in _FENCE.finditer(text)]


def engine(text: str) -> str:
    """The block of a page that defines the class Value."""
    return next((code for kind, code, _ in blocks(text) if "class Value:" in code), "")


def difference(before: str, after: str) -> str:
    """The lines that differ between two engines; @@ stands for what is the same."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    shown = ["@@" if line.startswith("@@") else line for line in lines][3:]
    return "\n".join(shown) + "\n"


def run(path: Path) -> Iterator[str]:
    """Run the code of a page in the current folder; yields what each block prints."""
    namespace = {"__name__": path.stem}
    for kind, code, line in blocks(path.read_text("utf-8")):
        if kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * line + code, str(path), "exec"), namespace)
            yield printed.getvalue()


def written(text: str, outputs: list[str], before: str) -> str:
    """A page with what its code prints, and with what is new since the engine before."""
    parts, end, rest = [], 0, iter(outputs)
    for m in _FENCE.finditer(text):
        if m[1] == "python":
            out = next(rest)
            shown = f"\n```text\n{out}```\n" if out else ""
            old = re.compile(r"\n```text\n.*?^```\n", re.DOTALL | re.MULTILINE).match(text, m.end())
            parts += [text[end : m.end()], shown]
            end = old.end() if old else m.end()
        elif m[1] == "diff":
            parts += [text[end : m.start(2)], difference(before, engine(text)), "```\n"]
            end = m.end()
    return "".join(parts) + text[end:]


def notebook(text: str) -> str:
    """A page as a notebook for Jupyter and Colab, with its outputs: the text of an .ipynb file."""
    cells = [_cell("code", _FIRST_CELL)]
    end = 0
    for m in _FENCE.finditer(text):
        between = text[end : m.start()]
        if m[1] == "python":
            cells += [*_prose(between, cells), _cell("code", m[2])]
        elif m[1] == "text" and not between.strip():
            output = {"name": "stdout", "output_type": "stream", "text": _lines(m[2])}
            cells[-1]["outputs"].append(output)
        else:
            continue  # a diff is prose
        end = m.end()
    cells += _prose(text[end:], cells)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _cell(kind, text):
    cell = {"cell_type": kind, "metadata": {}, "source": _lines(text)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _prose(text, cells):
    """A cell of text, or none; a picture goes to the outputs of the code cell before it."""
    for m in _PICTURE.finditer(text):
        data = {"image/png": base64.b64encode((PICTURES / m[1]).read_bytes()).decode()}
        output = {"data": data, "metadata": {}, "output_type": "display_data"}
        cells[-1]["outputs"].append(output)
    text = _PICTURE.sub("", text).strip()
    return [_cell("markdown", text)] if text else []


def _lines(text):
    return text.rstrip("\n").splitlines(keepends=True)


def notebooks() -> Iterator[tuple[Path, str]]:
    """Each notebook of both languages, and what is to be in it."""
    for page in [*PAGES, *sorted(KOREAN.glob("[0-9][0-9]-*.md"))]:
        yield page.with_suffix(".ipynb"), notebook(page.read_text("utf-8"))


def write() -> None:
    """Bring the outputs, differences, pictures and notebooks of all pages up to date."""
    PICTURES.mkdir(exist_ok=True)
    before, here = "", Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for page in PAGES:
                outputs, text = list(run(page)), page.read_text("utf-8")
                page.write_text(written(text, outputs, before), "utf-8")
                before = engine(text)
        finally:
            os.chdir(here)
        for picture in Path(folder).glob("*.png"):
            (PICTURES / picture.name).write_bytes(picture.read_bytes())
    for path, text in notebooks():
        path.write_text(text, "utf-8")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m docs.tour", description="Run a page.")
    parser.add_argument("page", nargs="?", type=int, help=f"a number from 1 to {len(PAGES)}")
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.write:
        write()
    elif args.page is None:
        parser.print_help()
    elif not 1 <= args.page <= len(PAGES):
        sys.exit(_refuse(f"There is no page {args.page}: the pages are 1 to {len(PAGES)}."))
    else:
        try:
            for text in run(PAGES[args.page - 1]):
                print(text, end="", flush=True)
        except ModuleNotFoundError as error:
            sys.exit(_refuse(f"This needs {error.name}: pip install -e '.[test]'"))


def _refuse(message):
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
