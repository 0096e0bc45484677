"""The types that users see: mypy finds nothing in a user's program, nor in the source."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "tests" / "programs" / "typed_user.py"
WRONG = PROGRAM.with_name("wrongly_typed.py")


def run(*command):
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


def test_the_program_runs():
    done = run(PROGRAM)
    assert done.stderr == "" and done.stdout.endswith("True\n[3, 4]\n")


@pytest.fixture(scope="module")
def errors(request, tmp_path_factory):
    """What mypy finds in the two programs and in the engine, in one run.

    From the second time on it reads again only what has changed: most of its time goes to NumPy.
    """
    pytest.importorskip("mypy")
    kept = getattr(request.config, "cache", None)  # pytest may be told to keep nothing
    cache = kept.mkdir("mypy") if kept else tmp_path_factory.mktemp("mypy")
    options = ["--cache-dir", cache, "--follow-imports=silent"]
    done = run("-m", "mypy", *options, PROGRAM, WRONG, "autograd")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": error:" in line]


def test_mypy_finds_nothing(errors):
    assert not [line for line in errors if WRONG.name not in line]


def test_mypy_sees_what_is_wrong(errors):
    """The types say something: a Tensor is not just anything."""
    found = [int(line.split(":")[1]) for line in errors if WRONG.name in line]
    lines = WRONG.read_text().splitlines()
    marked = [number for number, line in enumerate(lines, 1) if "# wrong" in line]
    assert found == marked and len(marked) == 8, errors


@pytest.mark.parametrize("package", ["autograd", "nn"])
def test_installed_packages_carry_their_types(package):
    assert (ROOT / package / "py.typed").exists()
    assert f'{package} = ["py.typed"]' in (ROOT / "pyproject.toml").read_text()
