"""What the project promises about itself: its README, its public names, its imports."""

import ast
import contextlib
import importlib
import inspect
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

import autograd
from autograd import tensor as engine

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def test_the_readmes_code_prints_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, before = {"__name__": "readme"}, dict(engine._registry)
    following = [*BLOCKS[1:], ("", "")]
    try:
        for (kind, code), (next_kind, shown) in zip(BLOCKS, following, strict=True):
            if kind == "python":
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(compile(code, "README.md", "exec"), namespace)
                if printed.getvalue():
                    assert next_kind == "text" and printed.getvalue() == shown
    finally:
        engine._registry.clear()
        engine._registry.update(before)


def test_the_readmes_tree_is_the_tree():
    tree = next(text for kind, text in BLOCKS if text.startswith("autograd/"))
    folder, listed = "", set()
    for line in tree.splitlines():
        name = line.split()[0]
        folder = "" if not line.startswith(" ") else folder
        listed.add(folder + name)
        folder = name if name.endswith("/") else folder
    assert all((ROOT / name).exists() for name in listed)
    for package in ("autograd", "nn"):
        modules = {f"{package}/{path.name}" for path in (ROOT / package).glob("[a-z]*.py")}
        assert modules <= listed


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
