"""What the project promises about itself: its public names, its imports, its test command."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import autograd

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_ci_runs_the_readmes_test_command():
    assert "grep -m1 'pytest$' README.md" in (ROOT / ".ci" / "run").read_text()
    (command,) = [line for line in README.splitlines() if line.endswith("pytest")]
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install")


@pytest.mark.parametrize("name", ["autograd", "nn"])
def test_public_names_are_exact(name):
    package = importlib.import_module(name)
    modules = [m for m in vars(package).values() if inspect.ismodule(m)]
    names = {n for n in vars(package) if not n.startswith("_") and vars(package)[n] not in modules}
    assert set(package.__all__) - {"functional"} == names
    assert len(set(package.__all__)) == len(package.__all__)
    for public in names:
        assert inspect.getdoc(getattr(package, public)), public


def imports(path):
    """(module, name) of every import in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), a.name) for a in node.names)


def test_nn_uses_public_names_only():
    for path in (ROOT / "nn").glob("*.py"):
        for module, name in imports(path):
            assert not module.startswith("autograd.")
            if module == "autograd" and name:
                assert name in autograd.__all__
    for path in [*(ROOT / "autograd").glob("*.py"), ROOT / "tinygpt.py"]:
        for module, _ in imports(path):
            assert path.name == "tinygpt.py" or not module.startswith("nn")


def test_imports_load_numpy_only():
    code = (
        "import sys, autograd, nn, tinygpt; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names) - {"autograd", "nn", "tinygpt"}
    own = {name for name in loaded if not name.startswith(("_", "sitecustomize", "pyximport"))}
    assert own == {"numpy"}, done.stderr
