"""The exercises of the tour: writes the questions of a page, then judges the answers.

    python -m docs.tour.exercises 4     the first time writes exercise_04.py, then judges it
    python -m docs.tour.exercises       lists all exercises, and how far each one is
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import re
import sys
import textwrap
import threading
import traceback
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from docs.tour.exercises import engine_checks, network_checks
from docs.tour.exercises.judge import NotYet, shown, watched

QUESTIONS = sorted((Path(__file__).parent / "questions").glob("exercise_*.py"))
PATIENCE = 10.0  # seconds, after which this is printed:
PATIENT = "still running; Ctrl-C stops it and names the line"


def functions(source: bytes) -> dict[str, str]:
    """The functions of a file by their names: their code, without comments."""
    nodes = ast.parse(source).body
    return {node.name: ast.dump(node) for node in nodes if isinstance(node, ast.FunctionDef)}


def check_of(name: str) -> types.FunctionType | None:
    """The check of an exercise; None for a function that is none."""
    return getattr(engine_checks, name, None) or getattr(network_checks, name, None)


def exercises(question: Path) -> list[str]:
    """The names of the exercises of a file of questions: those for which there is a check."""
    return [name for name in functions(question.read_bytes()) if check_of(name)]


def line_of(error: BaseException, path: Path) -> str:
    """Which line of the learner's file led to an exception: ", line 7", or nothing."""
    if isinstance(error, SyntaxError) and error.filename == str(path) and error.lineno:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    numbers = [frame.lineno for frame in frames if frame.filename == str(path)]
    if not numbers and error.__context__:  # the engine raises errors of an op anew
        return line_of(error.__context__, path)
    return f", line {numbers[-1]}" if numbers else ""


def raised(error: BaseException, path: Path, call: str) -> list[tuple[str, str]]:
    """What to show of an exception in a check."""
    hint = ""
    if "arrays can be converted to Python scalars" in str(error):
        hint = "Use np.exp, not math.exp: `math` is for single numbers."
    elif "read-only" in str(error):
        hint = "`x += y` changes the array itself; `x = x + y` makes a new one."
    elif not line_of(error, path):
        hint = "It was raised when the engine used what you returned."
    elif str(path) not in [frame.filename for frame in traceback.extract_tb(error.__traceback__)]:
        hint = "It was raised in your op, called by the engine."
    facts = [("given", call), ("error", told(error, path)), ("hint", hint)]
    return [(label, text) for label, text in facts if text]


def told(error: BaseException, path: Path) -> str:
    """An exception in one line."""
    text = error.msg if isinstance(error, SyntaxError) else str(error).partition("\n")[0]
    text = re.sub(r"; \w+ is: .*", "", text)  # which op it is, the learner knows
    return f"{path.name}{line_of(error, path)}: {type(error).__name__}" + (text and f": {text}")


def load(path: Path) -> types.ModuleType:
    """The learner's file as a module."""
    module = types.ModuleType(path.stem)
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), vars(module))
    return module


def judge(path: Path, question: Path) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """(exercise, "right", "not begun" or "not yet", what to say) of each exercise of a file."""
    module = load(path)
    asked, here = functions(question.read_bytes()), functions(path.read_bytes())
    for name in exercises(question):
        state, facts = "not yet", []
        if not callable(getattr(module, name, None)):
            facts = [("hint", f"{path.name} has no function `{name}` any more.")]
        elif here.get(name) == asked[name]:
            state = "not begun"
        else:
            calls: list[Any] = []
            function = watched(getattr(module, name), calls)
            timer = threading.Timer(PATIENCE, print, [PATIENT], {"file": sys.stderr, "flush": True})
            timer.daemon = True
            timer.start()
            try:
                check_of(name)(types.SimpleNamespace(**{**vars(module), name: function}))
                state = "right"
            except NotYet as refused:
                facts = refused.facts
            except (Exception, SystemExit) as error:
                call = f"{name}({', '.join(map(shown, calls))})" if calls else ""
                facts = raised(error, path, call)
            finally:
                timer.cancel()
        yield name, state, facts


def judge_page(path: Path, question: Path) -> int:
    """Write the questions of a page, or print how far the answers are; returns the exit code."""
    if not path.exists() and not path.is_symlink():
        with path.open("xb") as file:
            file.write(question.read_bytes())
        print(f"{path.name} is written: {', '.join(exercises(question))}.")
        print("Put your answers into it. Then run the same command again, and they are judged.")
        return 0
    code = 0
    for i, (name, state, facts) in enumerate(judge(path, question), 1):
        code = code if state == "right" else 1
        print(f"{i}. {name}: {state}")
        for label, text in facts:
            start = f"   {label + ':':10}"
            print(textwrap.fill(text, 79, initial_indent=start, subsequent_indent=" " * 13))
        sys.stdout.flush()
    return code


def list_all(folder: Path) -> int:
    """Print all exercises, and how far those are whose file is here."""
    for number, question in enumerate(QUESTIONS, 1):
        path = folder / question.name
        states = dict.fromkeys(exercises(question), "no file yet")
        try:
            if path.exists():
                with contextlib.redirect_stdout(io.StringIO()):
                    states = {name: state for name, state, _ in judge(path, question)}
        except (Exception, SystemExit) as error:
            states = dict.fromkeys(states, told(error, path))
        for i, (name, state) in enumerate(states.items()):
            line = f"{'' if i else f'page {number}':8} {name:19}{state}"
            print(textwrap.fill(line, 79, subsequent_indent=" " * 28), flush=True)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 all right, 1 not yet, 2 misuse."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.tour.exercises", description="Write or judge the exercises of a page."
    )
    parser.add_argument("page", nargs="?", help=f"1 to {len(QUESTIONS)}; none: list all")
    page = parser.parse_args(arguments).page
    known = {str(i): question for i, question in enumerate(QUESTIONS, 1)}
    if page is not None and page not in known:
        print(f"There is no page {page}: the pages are 1 to {len(known)}.", file=sys.stderr)
        return 2
    path = Path.cwd() / known[page].name if page else Path.cwd()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return judge_page(path, known[page]) if page else list_all(path)
    except KeyboardInterrupt as stop:
        print(f"\nStopped: {path.name}{line_of(stop, path)}.", file=sys.stderr)
        return 130
    except (Exception, SystemExit) as error:
        print(textwrap.fill(told(error, path), 79), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
