"""The mutation score: `python tests/tools/mutate.py` breaks the code in all the usual ways.

Every operator below makes one small change at a time: a sign, a factor, a dropped term, a wrong
axis. The tests must notice each. A change that they do not notice is a survivor: a test is
missing, or the change changes nothing, and is listed with its reason in mutants_equivalent.txt.
(mutmut 3 skips decorated functions, and here every op is one.)

The tests are imported and collected once, in a copy of the repository; each mutant is a fork of
that process in which the code objects of the mutated function are replaced, and runs the tests
that call the function, those of the op's own record first. What runs at import is tried from
the beginning where it survives this: another copy, another import, another collection.
"""

from __future__ import annotations

import argparse
import ast
import collections
import gc
import itertools
import os
import pickle
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGETS = [
    *(
        f"autograd/{name}.py"
        for name in """mode constants tensor gradients dispatch methods errors ops elementwise
        reductions movement products polynomials linalg scipy functional check anomaly graph
        testing""".split()
    ),
    "nn/functional.py",
]
TESTS = ["tests", "autograd", "nn"]
# The program, its files, processes and documents, whole models, and comparisons with PyTorch:
# no judges of an op.
LEFT_OUT = [
    f"test_{name}.py"
    for name in """tinygpt gpt2 training team threads tokens files monitor memory contract project
    docs tour tour_exercises pytorch types packaging llama chat""".split()
]
KILLED, SURVIVED, INVALID, AGAIN = 10, 11, 12, 13  # exit codes of a fork
MEMORY = 6 << 30


def equivalent():
    """The entries of mutants_equivalent.txt: (file, function, change), each with a reason."""
    file, entries = "", []
    for line in Path(__file__).with_name("mutants_equivalent.txt").read_text("utf-8").splitlines():
        if line.startswith("# "):
            file = line[2:]
        elif file and line and not line.startswith(" "):
            entries.append((file, *line.split(": ", 1)))
    return entries


EQUIVALENT = equivalent()


@dataclass(frozen=True)
class Mutant:
    file: str
    function: str  # "" at the top of the module
    line: int
    code: int  # first line of the code object it is in; 0 if it runs at import
    operator: str
    change: str  # the line, with [old -> new] where it is changed
    start: int  # bytes [start:end] of the file become `text`
    end: int
    text: bytes

    def __str__(self):
        return f"{self.file}:{self.line} {self.function} {self.operator}: {self.change}"

    def source(self):
        """The whole file, mutated."""
        source = Path(self.file).read_bytes()
        return source[: self.start] + self.text + source[self.end :]

    def listed(self, entry):
        """Whether an entry of EQUIVALENT means it."""
        pattern = ".*".join(map(re.escape, entry[2].split("…")))
        return entry[:2] == (self.file, self.function) and re.fullmatch(pattern, self.change)


# ---------------------------------------------------------------- operators
# Each takes a node and its scope, and yields pairs: what to replace, with what (a node or text).

BINARY = {
    ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div, ast.Add], ast.Div: [ast.Mult],
    ast.MatMult: [ast.Mult], ast.Pow: [ast.Mult], ast.Mod: [ast.FloorDiv],
    ast.FloorDiv: [ast.Mod], ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd],
}  # fmt: skip
COMPARED = {
    ast.Lt: [ast.LtE, ast.GtE], ast.LtE: [ast.Lt, ast.Gt], ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt], ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq], ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is], ast.In: [ast.NotIn], ast.NotIn: [ast.In],
}  # fmt: skip
TWINS = [
    ("maximum", "minimum"), ("max", "min"), ("any", "all"), ("zeros", "ones"), ("sum", "mean"),
    ("zeros_like", "ones_like"), ("isfinite", "isnan"), ("sin", "cos"), ("log", "log1p"),
    ("exp", "expm1"), ("argmax", "argmin"), ("data", "grad"), ("cumsum", "cumprod"),
]  # fmt: skip
SYMMETRIC = {"swapaxes", "multiply", "maximum", "minimum", "max", "min", "add", "result_type"}
TWIN = {a: b for pair in TWINS for a, b in (pair, pair[::-1])}


def sign(n, s):
    if s.returns is n and s.in_vjp:
        yield n, f"-({ast.unparse(n)})"
    if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.USub):
        yield n, n.operand


def factor(n, s):
    if s.returns is n and s.in_vjp:
        yield n, f"({ast.unparse(n)}) * 1.001"
    value = number(n)
    if value is not None:
        yield n, repr(value + 1)
        yield n, repr(value - 1)
        if value and (isinstance(value, float) or isinstance(s.parent, ast.BinOp)):
            yield n, repr(value * 1.001)


def number(n):
    """The value of a literal number, its sign included."""
    if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.USub):
        value = number(n.operand)
        return None if value is None else -value
    return n.value if isinstance(n, ast.Constant) and type(n.value) in (int, float) else None


def dropped_term(n, s):
    if isinstance(n, ast.BinOp):
        yield n, n.left
        yield n, n.right
    if isinstance(n, ast.BoolOp):
        for i in range(len(n.values)):
            rest = n.values[:i] + n.values[i + 1 :]
            yield n, ast.BoolOp(n.op, rest) if len(rest) > 1 else rest[0]
    if isinstance(n, ast.Slice):
        yield from ((part, "None") for part in (n.lower, n.upper, n.step) if part)


def swapped_operands(n, s):
    if isinstance(n, ast.BinOp) and isinstance(n.op, (ast.Sub, ast.Div, ast.MatMult, ast.Pow)):
        yield n, ast.BinOp(n.right, n.op, n.left)
    if isinstance(n, ast.Call) and ast.unparse(n.func).split(".")[-1] not in SYMMETRIC:
        for i, (a, b) in enumerate(itertools.pairwise(n.args)):
            if not {type(a), type(b)} & {ast.Starred, ast.GeneratorExp}:
                yield n, ast.Call(n.func, [*n.args[:i], b, a, *n.args[i + 2 :]], n.keywords)
    choice = isinstance(s.parent, ast.Compare) or ast.unparse(n).startswith(("(list", "(int"))
    if isinstance(n, ast.Tuple) and isinstance(n.ctx, ast.Load) and not choice:
        for i in range(len(n.elts) - 1):
            a, b = n.elts[i : i + 2]
            yield n, ast.Tuple([*n.elts[:i], b, a, *n.elts[i + 2 :]], n.ctx)


def replaced_operator(n, s):
    for other in BINARY.get(type(getattr(n, "op", None)), ()):
        if isinstance(n, ast.BinOp):
            yield n, ast.BinOp(n.left, other(), n.right)
        elif isinstance(n, ast.AugAssign):
            yield n, ast.AugAssign(n.target, other(), n.value)
    if isinstance(n, ast.BoolOp):
        yield n, ast.BoolOp(ast.Or() if isinstance(n.op, ast.And) else ast.And(), n.values)
    if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.Not):
        yield n, n.operand


def replaced_comparison(n, s):
    if isinstance(n, ast.Compare):
        for i, was in enumerate(n.ops):
            for other in COMPARED[type(was)]:
                ops = [*n.ops[:i], other(), *n.ops[i + 1 :]]
                yield n, ast.Compare(n.left, ops, n.comparators)


def forced_condition(n, s):
    if isinstance(n, (ast.If, ast.IfExp)):
        yield n.test, "True"
    if isinstance(n, (ast.If, ast.IfExp, ast.While)):
        yield n.test, "False"
    for test in getattr(n, "ifs", ()):
        yield from ((test, "True"), (test, "False"))


def replaced_name(n, s):
    if isinstance(n, ast.Attribute) and n.attr in TWIN and isinstance(n.ctx, ast.Load):
        yield n, ast.Attribute(n.value, TWIN[n.attr], n.ctx)
    if isinstance(n, ast.Name) and n.id in TWIN and isinstance(n.ctx, ast.Load) and not s.bound(n):
        yield n, TWIN[n.id]
    if isinstance(n, ast.Constant) and type(n.value) is bool:
        yield n, repr(not n.value)


def lost_call(n, s):
    """The transpose, the copy, the sum that is left out: f(x, ...) or x.f(...) becomes x."""
    if isinstance(n, ast.Attribute) and n.attr == "T":
        yield n, n.value
    if isinstance(n, ast.Call):
        module = isinstance(n.func, ast.Attribute) and isinstance(n.func.value, ast.Name)
        module = module and n.func.value.id in ("np", "math", "itertools", "functools", "inspect")
        if isinstance(n.func, ast.Attribute) and not module:
            yield n, n.func.value
        elif n.args and not isinstance(n.args[0], (ast.GeneratorExp, ast.Starred)):
            yield n, n.args[0]


def lost_accumulation(n, s):
    """+= becomes =, and = becomes += where there is something to add to."""
    if isinstance(n, ast.AugAssign):
        yield n, ast.Assign([n.target], n.value, lineno=0)
    if isinstance(n, ast.Assign) and isinstance(n.targets[0], (ast.Subscript, ast.Attribute)):
        yield n, ast.AugAssign(n.targets[0], ast.Add(), n.value)
    if isinstance(n, ast.Call) and ast.unparse(n.func) == "np.add.at":
        y, index, x = map(ast.unparse, n.args)
        yield n, f"{y}.__setitem__({index}, {x})"


def wrong_axis(n, s):
    """Any keyword left out; another axis; keepdims the other way; the order of a sort."""
    if not isinstance(n, ast.Call):
        return
    for i, k in enumerate(n.keywords):
        others = n.keywords[:i] + n.keywords[i + 1 :]
        yield n, ast.Call(n.func, n.args, others)
        k_is = number(k.value)
        if k.arg == "axis":
            yield from ((k.value, text) for text in ("0", "1", "-1") if k_is != int(text))
        if k.arg == "keepdims" and not isinstance(k.value, ast.Constant):
            yield k.value, f"not {ast.unparse(k.value)}"
    if isinstance(n.func, ast.Attribute):
        if n.func.attr in ("sort", "sorted"):
            reverse = ast.keyword("reverse", ast.Constant(True))
            yield n, ast.Call(n.func, n.args, [*n.keywords, reverse])
        if n.func.attr == "pop" and not n.args:
            yield n, ast.Call(n.func, [ast.Constant(0)], [])


def stale_residual(n, s):
    """The vjp uses another array than it should: x for y, the output for the input."""
    if not s.in_vjp or not isinstance(n, ast.Name) or n.id not in s.saved:
        return
    if getattr(s.parent, "attr", "") != "dtype":  # which is the same for all
        yield from ((n, name) for name in s.saved if name != n.id)


def float64_leak(n, s):
    if s.returns is n and s.in_vjp:
        yield n, f"np.float64(1) * ({ast.unparse(n)})"
    if s.returns is n and s.is_op and isinstance(n, ast.Tuple):
        yield n.elts[0], f"np.float64(1) * ({ast.unparse(n.elts[0])})"


def deleted_statement(n, s):
    kinds = ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Return, ast.If, ast.For, ast.While
    if isinstance(n, (*kinds, ast.Continue, ast.Break)):
        yield n, "pass"
    if isinstance(n, ast.Continue):
        yield n, "break"
    if isinstance(n, ast.With):
        yield from ((i.context_expr, "__import__('contextlib').nullcontext()") for i in n.items)


OPERATORS = [
    sign, factor, dropped_term, swapped_operands, replaced_operator, replaced_comparison,
    forced_condition, replaced_name, lost_call, lost_accumulation, wrong_axis, stale_residual,
    float64_leak, deleted_statement,
]  # fmt: skip


# ---------------------------------------------------------------- from a file to its mutants


@dataclass
class Scope:
    function: str = ""
    code: int = 0
    saved: tuple[str, ...] = ()  # arguments and variables of the function around a vjp
    names: tuple[str, ...] = ()  # arguments and variables of this function
    in_vjp: bool = False
    is_op: bool = False
    returns: ast.AST | None = None
    parent: ast.AST | None = None

    def bound(self, name):
        return name.id in self.names + self.saved

    def into(self, n):
        """The scope of the body of a function or lambda."""
        arguments = [a.arg for a in (*n.args.args, *n.args.kwonlyargs)]
        named = isinstance(n, ast.FunctionDef)
        stored = [
            m.id for b in (n.body if named else []) for m in ast.walk(b)
            if isinstance(m, ast.Name) and isinstance(m.ctx, ast.Store)
        ]  # fmt: skip
        decorators = [d for d in n.decorator_list if "op" in ast.unparse(d)] if named else []
        return Scope(
            f"{self.function}.{n.name}".strip(".") if named else self.function,
            min([n.lineno, *(d.lineno for d in (n.decorator_list if named else ()))]),
            self.names,
            tuple(dict.fromkeys(arguments + stored)),
            bool(self.names) and arguments[:1] == ["g"],
            bool(decorators),
        )


def walk(n, s):
    """All nodes that may be mutated, with their scopes: no text, annotations or imports."""
    if isinstance(n, (ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return
    if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]).startswith("__"):
        return  # __all__, __slots__, __hash__
    if isinstance(n, ast.Assign) and type(getattr(n.value, "value", None)) is str:
        return  # a text with a name
    if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant):
        return  # a docstring
    if isinstance(n, ast.FunctionDef) and "overload" in map(ast.unparse, n.decorator_list):
        return  # for type checkers
    if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING":
        yield from itertools.chain(*(walk(b, s) for b in n.orelse))
        return
    yield n, s
    if isinstance(n, ast.Raise) or (number(n) is not None and isinstance(n, ast.UnaryOp)):
        return
    if isinstance(n, (ast.FunctionDef, ast.Lambda)):
        inner = s.into(n)
        for default in (*n.args.defaults, *filter(None, n.args.kw_defaults)):
            header = Scope(inner.function, s.code, names=s.names)  # computed where it is defined
            header.parent = n
            yield from walk(default, header)
        if isinstance(n, ast.Lambda):
            yield from walk(n.body, Scope(**{**vars(inner), "returns": n.body, "parent": n}))
        else:
            yield from itertools.chain(*(walk(b, inner) for b in n.body))
        return
    for field, value in ast.iter_fields(n):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in ("annotation", "returns"):
                returns = n.value if isinstance(n, ast.Return) else None
                below = Scope(**{**vars(s), "returns": returns, "parent": n})
                if isinstance(n, ast.ClassDef):
                    below.function = n.name
                yield from walk(child, below)


def mutants_of(file):
    """Every mutant of a file, each once, in the order of the text."""
    source = Path(file).read_bytes()
    starts = [0, *itertools.accumulate(map(len, source.splitlines(keepends=True)))]
    found = {}
    for n, s in walk(ast.parse(source), Scope()):
        for operator in OPERATORS:
            for old, new in operator(n, s):
                new = new if isinstance(new, str) else ast.unparse(new)
                if new == ast.unparse(old):
                    continue
                start = starts[old.lineno - 1] + old.col_offset
                end = starts[old.end_lineno - 1] + old.end_col_offset
                if old is not n and not isinstance(old, ast.expr):
                    continue
                lines = "\n" * (old.end_lineno - old.lineno)  # keep the numbers of what follows
                text = f"({new}{lines})" if isinstance(old, ast.expr) else new + lines
                place, name = (start, end, text.encode()), operator.__name__.replace("_", " ")
                change = described(source, start, end, new)
                m = Mutant(file, s.function, old.lineno, s.code, name, change, *place)
                found.setdefault(place, m)
    return [found[key] for key in sorted(found)]


def described(source, start, end, new):
    """The line with [old -> new] in it; only the first line of what is longer than one."""
    before = source[:start].split(b"\n")[-1].lstrip()
    old, *more = source[start:end].split(b"\n")
    after = source[end:].split(b"\n")[0]
    line = b"%s[%s%s -> %s]%s" % (before, old, b" ..." * bool(more), new.encode(), after)
    return line.decode().split("  #")[0]


# ---------------------------------------------------------------- forks


def forked(tasks, jobs, work, limit):
    """Yields (task, exit code of work(task) in a fork or None if it was killed), as they end."""
    waiting, running = collections.deque(tasks), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            task = waiting.popleft()
            pid = os.fork()
            if not pid:
                code = KILLED
                try:
                    os.setsid()
                    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                    code = work(task)
                except BaseException:
                    traceback.print_exc()  # to nowhere, once the tests have begun
                finally:
                    os._exit(code)
            running[pid] = task, time.monotonic() + limit
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            task, _ = running.pop(pid)
            yield task, os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        else:
            for pid, (_, deadline) in running.items():
                if time.monotonic() > deadline:
                    os.killpg(pid, signal.SIGKILL)
            time.sleep(0.002)


class Plugin:
    """pytest, stopped: at the first failure, with exit code KILLED."""

    def __init__(self, order=None, covered=None):
        self.order = order  # node ids to run, of all that are collected
        self.covered = covered
        self.failed = None  # a list: collect the failures instead of stopping
        self.trial = False  # without a mutation

    def pytest_collectreport(self, report):
        if report.failed:
            os._exit(KILLED)

    def pytest_collection_modifyitems(self, items):
        if self.order is not None:
            place = {name: i for i, name in enumerate(self.order)}
            items[:] = sorted(
                (x for x in items if x.nodeid in place), key=lambda x: place[x.nodeid]
            )

    def pytest_collection_finish(self, session):
        quiet_hypothesis()

    def pytest_runtest_logstart(self, nodeid):
        usual = self.covered.tests[nodeid][0] if self.covered else 60
        signal.setitimer(signal.ITIMER_PROF, 3 + 10 * usual)  # ends the fork if the test hangs
        if self.trial:
            Path("test").write_text(nodeid, "utf-8")

    def pytest_runtest_makereport(self, item, call):
        import pytest

        if call.excinfo and not call.excinfo.errisinstance(pytest.skip.Exception):
            if self.failed is None:
                os._exit(KILLED)
            self.failed.append(item.nodeid)


class Session(Plugin):
    """pytest, collected once: where the tests would run, every mutant runs them in a fork."""

    def __init__(self, mutants, jobs, report):
        super().__init__()
        self.mutants, self.jobs, self.report = mutants, jobs, report
        self.calls = Calls()
        self.calls.start()

    def pytest_runtestloop(self, session):
        self.calls.stop()
        self.items = {item.nodeid: item for item in session.items}
        self.covered = self.baseline(session.items)
        self.live = live_functions()
        gc.freeze()
        results = {None: SURVIVED}
        for mutant, code in forked([None, *self.mutants], self.jobs, self.work, 1800):
            results[mutant] = code
            if mutant is None and code != SURVIVED:
                break  # nothing that the mutants show can be trusted
            self.report(mutant, code)
        Path("results").write_bytes(pickle.dumps((results, self.covered)))
        return True

    def baseline(self, items):
        """Every test without mutation: its time and the functions it calls."""
        for _ in forked([items], 1, self.record, 1800):
            covered = pickle.loads(Path("baseline").read_bytes())
        return covered._replace(at_import=frozenset(self.calls.seen))

    def record(self, items):
        self.failed, tests = [], {}
        self.calls.start()
        for item in items:
            self.calls.seen.clear()
            before = time.perf_counter()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            tests[item.nodeid] = time.perf_counter() - before, frozenset(self.calls.seen)
        self.calls.stop()
        covered = Covered(tests, self.failed, frozenset())
        Path("baseline").write_bytes(pickle.dumps(covered))
        return 0

    def work(self, mutant):
        self.trial = mutant is None
        if mutant is not None:
            try:
                compile(mutant.source(), mutant.file, "exec")
                if not mutant.code or not install(mutant, self.live):
                    return AGAIN
            except SyntaxError:
                return INVALID
        listed = any(mutant.listed(entry) for entry in EQUIVALENT) if mutant else False
        give_up = time.process_time() + (5 if listed else 1e5)  # a look, that the list is right
        for name in self.covered.order(mutant):
            if time.process_time() > give_up:
                break
            item = self.items[name]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return AGAIN if mutant and self.covered.needs_everything(mutant) else SURVIVED


class Covered(collections.namedtuple("Covered", "tests failed at_import")):
    """What the run without mutation has shown."""

    __slots__ = ()

    def order(self, mutant, everything=False):
        """The tests that call the mutated function: its own record's first, then the quickest."""
        own = mutant and mutant.function.split(".")[0]
        where = mutant and (mutant.file, mutant.code)
        everything = everything or mutant is None or not mutant.code
        names = [name for name, (_, called) in self.tests.items() if everything or where in called]
        names = sorted(set(names).difference(self.failed))
        return sorted(names, key=lambda name: (f"[{own}-" not in name, self.tests[name][0]))

    def needs_everything(self, mutant):
        return not mutant.code or (mutant.file, mutant.code) in self.at_import


class Calls:
    """The functions of the targets that were called, as (file, first line)."""

    def __init__(self):
        self.seen, self.files = set(), {str(Path(file).resolve()): file for file in TARGETS}

    def note(self, frame, event, _):
        if event == "call" and frame.f_code.co_filename in self.files:
            self.seen.add((self.files[frame.f_code.co_filename], frame.f_code.co_firstlineno))

    def start(self):
        threading.setprofile(self.note)
        sys.setprofile(self.note)

    def stop(self):
        threading.setprofile(None)
        sys.setprofile(None)


def live_functions():
    """The functions of the targets that exist after import, by their code."""
    gc.collect()
    live, files = {}, {str(Path(file).resolve()) for file in TARGETS}
    for f in gc.get_objects():
        if type(f) is types.FunctionType and f.__code__.co_filename in files:
            live.setdefault(f.__code__, []).append(f)
    return live


def install(mutant, live):
    """Give the live functions their mutated code; False where that cannot be done in place."""
    new = compile(mutant.source(), mutant.file, "exec")
    old = compile(Path(mutant.file).read_bytes(), mutant.file, "exec")
    done = False
    for was, now in paired(old, new):
        if was != now and was in live:
            if was.co_freevars != now.co_freevars:
                return False
            for f in live[was]:
                f.__code__ = now
            done = True
    return done


def paired(old, new):
    """A code object and those nested in it, beside those of another version."""
    yield old, new
    inner = [[c for c in code.co_consts if isinstance(c, types.CodeType)] for code in (old, new)]
    for a, b in zip(*inner, strict=False):
        yield from paired(a, b)


def quiet_hypothesis():
    """The same examples every time, and no search for a smaller one."""
    import hypothesis
    from hypothesis import HealthCheck, Phase

    hypothesis.settings.register_profile(
        "mutate", derandomize=True, database=None, deadline=None,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    hypothesis.settings.load_profile("mutate")


def run_pytest(plugin, files=TESTS):
    import pytest

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    flags = ["-s", "-pno:cacheprovider", "-Wignore::pytest.PytestAssertRewriteWarning"]
    flags += [f"--ignore-glob=**/{name}" for name in LEFT_OUT]
    return pytest.main([*flags, *files], plugins=[plugin])


# ---------------------------------------------------------------- the command


def run_all(mutants, jobs, folder, report):
    """{mutant: exit code}, and the tests that fail without a mutation."""

    def session(_):
        os.chdir(folder / "base")
        run_pytest(Session(mutants, jobs, report))
        return 0

    def afresh(task):
        """From the beginning: the file written, the project imported, the tests collected."""
        number, mutant = task
        here = folder / str(number)
        shutil.copytree(folder / "base", here)
        os.chdir(here)
        Path(mutant.file).write_bytes(mutant.source())
        order = covered.order(mutant, covered.needs_everything(mutant))
        count = collections.Counter(name.split("::")[0] for name in order)
        for file in sorted(count, key=count.get):  # the quickly collected first
            if run_pytest(Plugin(order, covered), [file]):
                return KILLED
        return SURVIVED

    for _ in forked([0], 1, session, 1e5):
        results, covered = pickle.loads((folder / "base" / "results").read_bytes())
    if results.pop(None) != SURVIVED:
        test = (folder / "base" / "test").read_text("utf-8")
        sys.exit(f"{test} fails without any mutation when the tests run in another order")
    tasks = list(enumerate(m for m in mutants if results[m] == AGAIN))
    for (number, mutant), code in forked(tasks, jobs, afresh, 1800):
        shutil.rmtree(folder / str(number), ignore_errors=True)
        results[mutant] = code
        report(mutant, code)
    return results, covered.failed


def summary(results, complete):
    """Prints the table, the survivors and what is wrong with EQUIVALENT; whether all is well."""
    alive = [m for m, code in results.items() if code == SURVIVED]
    known = [m for m in alive if any(m.listed(entry) for entry in EQUIVALENT)]
    print(f"\n{'':24}{'mutants':>9}{'killed':>9}{'equivalent':>12}{'survivors':>11}{'score':>9}")
    for file in [*TARGETS, ""]:
        count = [sum(m.file.endswith(file) if file else True for m in ms)
                 for ms in (results, alive, known)]  # fmt: skip
        dead, left = count[0] - count[1], count[1] - count[2]
        score = 1000 * dead // max(dead + left, 1) / 10  # 100.0 only if none survives
        row = f"{count[0]:>9}{dead:>9}{count[2]:>12}{left:>11}{score:>8.1f}%"
        if count[0]:
            print(f"{file or 'all':24}{row}")
    survivors = [m for m in alive if m not in known]
    for m in survivors:
        print(f"survivor  {m}")
    stale = []
    for entry in EQUIVALENT:
        matched = [m for m in results if m.listed(entry)]
        if (matched or complete) and not any(m in known for m in matched):
            stale.append(entry)
            print(f"not an equivalent mutant (any more), take it off the list: {entry[:3]}")
    return not survivors and not stale


def chosen(options):
    mutants = [m for file in TARGETS for m in mutants_of(file)]
    if options.only:
        only = set(options.only)
        mutants = [m for m in mutants if only & {m.file, Path(m.file).name, *m.function.split(".")}]
    if options.sample:
        mutants = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))
    return mutants


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", help="ops, functions or files")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of --sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.list:
        os.chdir(ROOT)
        print(*chosen(options), sep="\n")
        return 0
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import hypothesis  # noqa: F401  # what every fork needs, imported once
    import numpy  # noqa: F401  # but nothing of the project: some forks import a mutated one

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder).resolve()
        ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "benchmarks")
        shutil.copytree(ROOT, folder / "base", ignore=ignore)
        os.chdir(folder / "base")
        mutants = chosen(options)
        results, failed = run_all(mutants, options.jobs, folder, Progress(len(mutants)))
        os.chdir(ROOT)
    results = {m: results[m] for m in mutants if results[m] != INVALID}
    well = summary(results, complete=not options.only and not options.sample)
    for name in failed:
        print(f"fails without any mutation, and was left out: {name}")
    print(f"{time.monotonic() - started:.0f} s")
    return 0 if well and not failed else 1


class Progress:
    """A line for each survivor, and for every hundred mutants, where standard output was before the
    tests took it."""

    def __init__(self, total):
        self.screen, self.total = os.fdopen(os.dup(1), "w", buffering=1), total
        self.done, self.started = 0, time.monotonic()

    def __call__(self, mutant, code):
        self.done += mutant is not None
        if code == SURVIVED and mutant and not any(mutant.listed(e) for e in EQUIVALENT):
            print(f"survives  {mutant}", file=self.screen)
        if mutant and self.done % 100 == 0:
            seconds = time.monotonic() - self.started
            print(f"{self.done} of {self.total}, {seconds:.0f} s", file=self.screen)


if __name__ == "__main__":
    sys.exit(main())
