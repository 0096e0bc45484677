"""What the project promises about itself: its public names, its imports, its test command."""

import ast
import builtins
import graphlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import autograd

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_ci_runs_the_readmes_test_command():
    assert "grep -m1 'pytest$' README.md" in (ROOT / ".ci" / "run").read_text("utf-8")
    (command,) = [line for line in README.splitlines() if line.endswith("pytest")]
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install")


@pytest.mark.parametrize("name", ["autograd", "nn"])
def test_public_names_are_exact(name):
    package = importlib.import_module(name)
    modules = [m for m in vars(package).values() if inspect.ismodule(m)]
    names = {n for n in vars(package) if not n.startswith("_") and vars(package)[n] not in modules}
    assert set(package.__all__) - {"functional"} == names - set(dir(builtins))
    assert len(set(package.__all__)) == len(package.__all__)
    for public in names:
        assert inspect.getdoc(getattr(package, public)), public


@pytest.mark.parametrize("name", ["autograd", "nn"])
def test_a_star_import_hides_nothing_of_python(name):
    package = importlib.import_module(name)
    modules = [m for m in vars(package).values() if inspect.ismodule(m)]
    for module in [package, *modules]:
        assert not set(getattr(module, "__all__", ())) & set(dir(builtins)), module
    from autograd import abs, max, min, sum

    assert all(own is not vars(builtins)[own.__name__] for own in (abs, max, min, sum))


FLOORS = ["autograd", "nn", "nn.run", "tinygpt"]  # each may import what is before it
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in [*(ROOT / "autograd").rglob("*.py"), *(ROOT / "nn").rglob("*.py")]
} | {"tinygpt": ROOT / "tinygpt.py"}


def imports(module):
    """(module, name or None) of every import in a module, with relative ones made absolute."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = [*above, *filter(None, [node.module])] if node.level else [node.module]
            for alias in node.names:
                whole = ".".join([*start, alias.name])
                yield (whole, None) if whole in MODULES else (".".join(start), alias.name)


def floor(module):
    """The number of the floor a module is on; None if it is of no floor here."""
    at = [n for n, name in enumerate(FLOORS) if f"{module}.".startswith(f"{name}.")]
    return at[-1] if at else None


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_an_upper_floor(module):
    for imported, _ in imports(module):
        assert floor(imported) is None or floor(imported) <= floor(module), imported


def test_no_module_imports_itself_by_way_of_others():
    graph = {m: {i for i, _ in imports(m) if i in MODULES} for m in MODULES}
    assert len([*graphlib.TopologicalSorter(graph).static_order()]) == len(MODULES)


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith("autograd")])
def test_public_names_of_the_engine_are_enough(module):
    for imported, name in imports(module):
        assert not imported.startswith("autograd.")
        assert imported != "autograd" or name in (None, "__version__", *autograd.__all__)


def test_imports_load_numpy_only():
    code = (
        "import sys, autograd, nn, tinygpt; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names) - {"autograd", "nn", "tinygpt"}
    own = {name for name in loaded if not name.startswith(("_", "sitecustomize", "pyximport"))}
    assert own == {"numpy"}, done.stderr
