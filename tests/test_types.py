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


@pytest.mark.parametrize(
    "files", [["--follow-imports=silent", PROGRAM], ["autograd"]], ids=["a program", "autograd"]
)
def test_mypy_finds_nothing(files, tmp_path):
    pytest.importorskip("mypy")
    done = run("-m", "mypy", "--cache-dir", tmp_path, *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_sees_what_is_wrong(tmp_path):
    """The types say something: a Tensor is not just anything."""
    pytest.importorskip("mypy")
    done = run("-m", "mypy", "--cache-dir", tmp_path, "--follow-imports=silent", WRONG)
    found = [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line]
    lines = WRONG.read_text().splitlines()
    marked = [number for number, line in enumerate(lines, 1) if "# wrong" in line]
    assert found == marked and len(marked) == 8, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["autograd", "nn"])
def test_installed_packages_carry_their_types(package):
    assert (ROOT / package / "py.typed").exists()
    assert f'{package} = ["py.typed"]' in (ROOT / "pyproject.toml").read_text()
