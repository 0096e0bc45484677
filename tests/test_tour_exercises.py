"""The exercises of the tour: right answers are accepted, wrong ones refused with a hint."""

import ast
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from docs.tour.__main__ import PAGES, engine
from docs.tour.exercises import engine_checks, network_checks
from docs.tour.exercises.__main__ import QUESTIONS, exercises, main
from docs.tour.exercises.judge import shown
from docs.tour.exercises.pages import from_page

ROOT = Path(__file__).parent.parent
SOLUTIONS = sorted((ROOT / "docs/tour/exercises/solutions").glob("*.py"))
NAMES = {number: exercises(question) for number, question in enumerate(QUESTIONS, 1)}
PAGE_OF = {name: number for number, names in NAMES.items() for name in names}
each_page = pytest.mark.parametrize("page", NAMES)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)


def signatures(path):
    """What is asked of each function of a file, and the rest of the file."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [(node.name, ast.dump(node.args), ast.get_docstring(node)) for node in nodes]


def answer(name, body):
    """Write the questions of a page with this body of one function."""
    question = QUESTIONS[PAGE_OF[name] - 1]
    text = question.read_text("utf-8")
    (node,) = [n for n in ast.parse(text).body if getattr(n, "name", "") == name]
    lines = text.splitlines(keepends=True)
    lines[node.body[0].end_lineno : node.end_lineno] = [textwrap.indent(body.strip(), "    "), "\n"]
    Path(question.name).write_text("".join(lines), "utf-8")


def report(name, capsys):
    """What the judge prints of one exercise, in one line."""
    assert main([str(PAGE_OF[name])]) == 1
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) < 80
    (part,) = re.findall(rf"^\d\. {name}: (.*?)(?=^\d\. |\Z)", out, re.DOTALL | re.MULTILINE)
    return " ".join(part.split())


# ---------------------------------------------------------------- the files


@each_page
def test_a_page_names_its_exercises(page):
    heading = f"## Exercises: `python -m docs.tour.exercises {page}`\n"
    _, _, end = PAGES[page - 1].read_text("utf-8").partition(heading)
    assert re.findall(r"^\d\. `(\w+)`", end, re.MULTILINE) == NAMES[page]


def test_each_check_has_an_exercise_of_the_same_name():
    for module in (engine_checks, network_checks):
        text = Path(module.__file__).read_text("utf-8")
        assert set(re.findall(r"^def (\w+)\(m: Any\)", text, re.MULTILINE)) <= set(PAGE_OF)
    assert len(PAGE_OF) == sum(map(len, NAMES.values())) == 24


@each_page
def test_a_solution_answers_the_question(page, capsys):
    question, solution = QUESTIONS[page - 1], SOLUTIONS[page - 1]
    assert question.name == solution.name == f"exercise_{page:02d}.py"
    assert signatures(question) == signatures(solution)
    Path(solution.name).write_bytes(solution.read_bytes())
    assert main([str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{i}. {name}: right" for i, name in enumerate(NAMES[page], 1)]


@each_page
def test_the_questions_are_written_once_and_not_begun(page, capsys):
    name = f"exercise_{page:02d}.py"
    assert main([str(page)]) == 0
    assert Path(name).read_bytes() == QUESTIONS[page - 1].read_bytes()
    written = capsys.readouterr().out.splitlines()
    assert written[0].startswith(f"{name} is written") and len(written) == 2
    assert max(map(len, written)) < 80
    Path(name).write_text(Path(name).read_text("utf-8") + "# mine\n", "utf-8")
    assert main([str(page)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{i}. {name}: not begun" for i, name in enumerate(NAMES[page], 1)]
    assert Path(name).read_text("utf-8").endswith("# mine\n")


def test_the_engine_is_that_of_the_page():
    Value, other = from_page(2, "Value"), from_page(2, "Value")
    assert Value is not other  # a learner may change it
    namespace = {}
    exec(engine(PAGES[1].read_text("utf-8")), namespace)
    assert vars(Value).keys() == vars(namespace["Value"]).keys()


def test_the_list_shows_how_far_each_exercise_is(capsys):
    answer("subtract", 'print("hello")\nreturn Value(x.data - y.data, (x, y), "-")')
    Path("exercise_02.py").write_text("def broken(:\n", "utf-8")
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["page", "1", "subtract", "right"]
    assert lines[1].split() == ["count_values", "not", "begun"]
    assert lines[2].startswith("page 2   divide             exercise_02.py, line 1: SyntaxError")
    assert lines[4].split() == ["page", "3", "sine", "no", "file", "yet"]
    assert len(lines) == len(PAGE_OF)


# ---------------------------------------------------------------- wrong answers


TWO_STEPS = 'minus = y * Value(-1.0)\nreturn Value(x.data + minus.data, (x, minus), "-")'
NO_MEMORY = "return 1 + sum(count_values(parent) for parent in result.parents)"
BY_NUMBER = """
found, todo = {result.data}, [result]
while todo:
    value = todo.pop()
    found |= {parent.data for parent in value.parents}
    todo += value.parents
return len(found)
"""
QUOTIENT = 'return Value(x.data / y.data, (x, y), "/", ({}))'
TOO_EARLY = """
found, todo = [result], [result]
result.grad = 1.0
while todo:
    value = todo.pop()
    for parent, slope in zip(value.parents, value.slopes, strict=True):
        parent.grad += value.grad * slope
        if parent not in found:
            found.append(parent)
            todo.append(parent)
"""
OVERWRITTEN = """
found, todo = {result}, [result]
while todo:
    new = set(todo.pop().parents) - found
    found, todo = found | new, [*todo, *new]
result.grad = 1.0
for value in sorted(found, key=lambda value: value.serial, reverse=True):
    for parent, slope in zip(value.parents, value.slopes, strict=True):
        parent.grad = value.grad * slope
"""
SINE = 'return Value(math.sin(x.data), (x,), "sin", ({},))'
MEAN = 'return Value(x.data.mean(), (x,), "mean", (lambda g: {},))'
MAXIMUM = """
vjps = (lambda g: {}, lambda g: {})
return Value(np.maximum(x.data, y.data), (x, y), "maximum", vjps)
"""
MATMUL = 'return Value(x.data @ y.data, (x, y), "@", (lambda g: {}, lambda g: {}))'
RELU = 'return Value(np.maximum(x.data, 0), (x,), "relu", (lambda g: {},))'
SOFTMAX = """
p = np.exp(x - x.max(axis=axis, keepdims=True))
p = p / p.sum(axis=axis, keepdims=True)
return p, (lambda g: {},)
"""
ATTENTION = "q, k, v = x @ queries, x @ keys, x @ values\nT, C = x.shape\n"
FUTURE = ATTENTION + "future = np.triu(np.ones((T, T), bool), 1)\n"
NORM = """
deviation = x - x.mean(axis=-1, keepdims=True)
square = (deviation * deviation).mean(axis=-1, keepdims=True)
return {}
"""
BLOCK = "block = 4 * C * C + 4 * C + 2 * C * d_ff + d_ff + C + 4 * C\n"
ROWS = "np.maximum(1, counts.sum(axis=1, keepdims=True))"
LOSS = """
p = counts / {0}
return -({2} * {1}(np.where(counts > 0, p, 1))).sum() / counts.sum()
"""
ADAM = """
m = m + 0.1 * (g - m)
s = s + 0.01 * ({} - s)
m_now, s_now = m / (1 - 0.9**step), s / (1 - 0.99**step)
return p - rate * {}, m, s
"""
FLOOR = """
lines = [("<START>", *sentence.split(), "<END>") for sentence in sentences]
seen = Counter(line[:n] for line in lines for n in range(1, len(line) + 1))
"""
COUNTER = "from collections import Counter\n"
COSTS = """
costs = [np.log(seen[s[:n]] / seen[s[: n + 1]]) for s in lines for n in range(1, len(s))]
return sum(costs) / len(costs)
"""
TOP = "kept = logits >= np.sort(logits)[-k]\n"
PATHS = """
def walk(value, gradient):
    value.grad += gradient
    for parent, slope in zip(value.parents, value.slopes, strict=True):
        walk(parent, gradient * slope)
walk(result, 1.0)
"""
SHIFT = """
p = np.exp(x - x.{})
p = p / p.sum(axis=axis, keepdims=True)
return p, (lambda g: {},)
"""
SLOPE = "p * (g - (p * g).sum(axis=axis, keepdims=True))"
EACH = """
rng = np.random.default_rng(0)
for shape, axis in [((3,), 0), ((2, 3), 0), ((2, 3), 1), ((2, 3, 2), 1)]:
    x = rng.standard_normal(shape)
    check_gradients(lambda x: candidate(x, axis=axis), x)
"""
FIND = "x = np.array([[0.3, -1.2, 0.5], [1.1, 0.4, -0.7]])\n"

WRONG = [
    ("subtract", 'return Value(y.data - x.data, (x, y), "-")', "first number minus the second"),
    ("subtract", 'return Value(x.data - y.data, (y, x), "-")', "arrived: (y, x) hint"),
    ("subtract", 'return Value(x.data - y.data, (x.data, y.data), "-")', "(a float, a float)"),
    ("subtract", 'return Value(x.data - y.data, (x, y), "+")', "expected: '-' arrived: '+'"),
    ("subtract", "return x.data - y.data", "expected: a Value arrived: "),
    ("subtract", 'Value(x.data - y.data, (x, y), "-")', "Is there a `return`?"),
    ("subtract", 'return Value(2.0, (x, y), "-")', "first number minus"),
    ("count_values", NO_MEMORY, "Remember what you have counted already"),
    ("count_values", BY_NUMBER, "Two Values can hold the same number"),
    ("count_values", "return 1 + len(set(result.parents))", "The parents have parents, too"),
    ("count_values", "return len(result.parents)", "The result itself is counted"),
    ("divide", QUOTIENT.format("-x.data / y.data**2, 1 / y.data"), "handed on to x"),
    ("divide", QUOTIENT.format("1 / y.data, x.data / y.data**2"), "If y grows, does x / y grow?"),
    ("divide", QUOTIENT.format("1 / y.data, -1 / y.data**2"), "handed on to y"),
    ("divide", QUOTIENT.format("1 / y.data,"), "one for each parent"),
    ("broken_backward", TOO_EARLY, "only when all of it has arrived"),
    ("broken_backward", OVERWRITTEN, "the gradient that came first"),
    ("broken_backward", "result.backward()", "AttributeError"),
    ("broken_backward", PATHS, "given: x + x, and so on, 24 times expected: a few steps"),
    ("broken_backward", "while True:\n    result.grad = 1.0 * result.data",
     "given: x * y expected: a few steps for each Value arrived: very many steps hint: Each Value"),
    ("broken_backward", "return None", "The slopes of the one step"),
    ("sine", SINE.format("math.sin(x.data)"), "known from school"),
    ("sine", 'return Value(math.sin(x.data), x, "sin", (1.0,))',
     "expected: (x,) arrived: x, without a tuple"),
    ("sine", SINE.format("-math.cos(x.data)"), "known from school"),
    ("sine", SINE.format("1.0"), "known from school"),
    ("sine", 'return Value(math.cos(x.data), (x,), "sin", (1.0,))', "Use math.sin"),
    ("which_is_wrong", 'return "logistic", 0', "logistic, input 0, which is right"),
    ("which_is_wrong", 'return "power", 0', "power, input 0, which is right"),
    ("which_is_wrong", 'return "logistic", 1', "The form is"),
    ("which_is_wrong", 'return "power"', "a name, and 0 or 1"),
    ("which_is_wrong", 'return ["power"], 1', "The form is"),
    ("passes_by_accident", "return 1.0", "2.000000 and 3.000000"),
    ("passes_by_accident", "return 0.0", "There is one more such x"),
    ("passes_by_accident", "return 1e-9",
     "a number that is not near 0 arrived: 1e-09 hint: At 0"),
    ("passes_by_accident", "return float('nan')", "two equal slopes"),
    ("sum_to", "return g.sum(axis=tuple(range(g.ndim - len(shape))))", "look at `keepdims`"),
    ("sum_to", "ones = tuple(i for i, n in enumerate(shape) if n == 1)\n"
     "return g.sum(axis=ones, keepdims=True)", "Axes in front"),
    ("sum_to", "return g.sum() * np.ones(shape)", "Nothing was repeated"),
    ("sum_to", "return g.reshape(-1)[: int(np.prod(shape))].reshape(shape)", "add up there"),
    ("sum_to", "while g.ndim > len(shape):\n    g = g.mean(axis=0)\nreturn g", "add up there"),
    ("mean", MEAN.format("g * np.ones(x.data.shape)"), "by how much does the mean grow"),
    ("mean", MEAN.format("g / x.data.size"), "the gradient has the shape of x.data"),
    ("mean", MEAN.format("g * np.ones(x.data.shape) / len(x.data)"), "by how much does the mean"),
    ("mean", MEAN.format("np.ones(x.data.shape) / x.data.size"), "that part of g"),
    ("mean", "return x.sum() * Value(1 / x.data.size)", "One step makes the result"),
    ("maximum", MAXIMUM.format("g", "g"), "the smaller one and grows a little"),
    ("maximum", MAXIMUM.format("g * (x.data < y.data)", "g * (y.data < x.data)"), "handed on to x"),
    ("maximum", MAXIMUM.format("g * (x.data > y.data)", "0 * g"), "handed on to y"),
    ("maximum", 'return x if x.data.max() > y.data.max() else y', "the larger entry"),
    ("matmul", MATMUL.format("g @ y.data", "x.data.T @ g"), "gradient of x is a matrix product"),
    ("matmul", MATMUL.format("x.data.T @ g", "g @ y.data.T"), "gradient of x is a matrix product"),
    ("matmul", MATMUL.format("g @ y.data.T", "g @ x.data.T"), "gradient of y is a matrix product"),
    ("matmul", "return x @ y", "TypeError"),
    ("relu", RELU.format("g"), "Below 0 the result does not change"),
    ("relu", RELU.format("g * x.data"), "Above 0, g passes as it is"),
    ("relu", RELU.format("1.0 * (x.data > 0)"), "Above 0, g passes as it is"),
    ("fit_better", "return 16, 0.1, 500", "Try more or fewer hidden numbers"),
    ("fit_better", "return 32, 0.5, 300", "The steps are so long"),
    ("fit_better", "return 64, 0.2", "arrived: (64, 0.2) hint: Return a tuple of this length"),
    ("fit_better", "return 64, 0.1, 100000", "Stay within these limits"),
    ("own_softmax", SOFTMAX.format("g * p * (1 - p)"), "they share a sum"),
    ("own_softmax", SOFTMAX.format("g * p"), "they share a sum"),
    ("own_softmax", SOFTMAX.format("p * (g - (p * g).sum(axis=-1, keepdims=True))"), "axis=0"),
    ("own_softmax", SOFTMAX.replace("axis=axis", "axis=-1").format("p * (g - (p * g).sum())"),
     "they share a sum"),
    ("own_softmax", "p = np.exp(x)\np = p / p.sum(axis=axis, keepdims=True)\n"
     "return p, (lambda g: p * (g - (p * g).sum(axis=axis, keepdims=True)),)", "Which shift"),
    ("own_softmax", SHIFT.format("max()", SLOPE), "each needs its own"),
    ("own_softmax", SHIFT.format("max(axis=axis, keepdims=True)", SLOPE.replace(
        "p * (g", "np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True) * (g")), "must not meet"),
    ("own_softmax", "x -= x.max(axis=axis, keepdims=True)" + SHIFT.format("max()", SLOPE),
     "`x = x + y` makes a new one"),
    ("smallest_loss", "p = counts / counts.sum(axis=1, keepdims=True)\n"
     "return -(counts * np.log(p)).sum() / counts.sum()", "0, not nan"),
    ("smallest_loss", LOSS.format("counts.sum()", "np.log", "counts"), "natural logarithm"),
    ("smallest_loss", LOSS.format("counts.sum(axis=0)", "np.log", "counts"), "natural logarithm"),
    ("smallest_loss", LOSS.format(ROWS, "np.log2", "counts"), "natural logarithm"),
    ("smallest_loss", LOSS.format(ROWS, "np.log", "-counts"), "natural logarithm"),
    ("smallest_loss", "return [0.0]", "Return a number, not a list"),
    ("smallest_loss", "p = counts / counts.sum(axis=1, keepdims=True)\n"
     "return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1).mean()", "not over the rows"),
    ("smallest_loss", "p = counts / counts.sum(axis=1, keepdims=True)\n"
     "return -(counts * np.log(np.maximum(p, 1e-30))).sum() / counts.sum()", "An empty row"),
    ("both_ways", FUTURE + "scores = np.where(future, -np.inf, q @ k.T / math.sqrt(C))\n"
     "return softmax(scores) @ v", "There is still a mask"),
    ("both_ways", ATTENTION + "return softmax(q @ k.T) @ v", "Look at `attention` on page 7"),
    ("both_ways", ATTENTION + "return softmax(q @ k.T / math.sqrt(C), axis=0) @ v", "All else"),
    ("both_ways", ATTENTION + "return softmax(q @ k.T / math.sqrt(T)) @ v", "T = 4, C = 3"),
    ("both_ways", ATTENTION + "return Tensor((softmax(q @ k.T / math.sqrt(C)) @ v).data)",
     "what comes from .data is a constant"),
    ("both_ways", ATTENTION + "w = softmax(q @ k.T / math.sqrt(C))\nreturn w @ v, w",
     "arrived: a tuple of 2 hint: Return the mixed values only."),
    ("both_ways", "return x.data", "what comes from .data is a constant"),
    ("leak", FUTURE + "scores = np.where(future.T, -np.inf, q @ k.T / math.sqrt(C))\n"
     "return softmax(scores) @ v", "then x[2:] changes"),
    ("leak", FUTURE + "scores = np.where(future, 0.0, q @ k.T / math.sqrt(C))\n"
     "return softmax(scores) @ v", "Softmax divides by a sum"),
    ("leak", FUTURE.replace(", 1)", ")") + "scores = np.where(future, -np.inf, q @ k.T)\n"
     "return softmax(scores) @ v", "each position must see itself"),
    ("leak", "return x @ values", "see itself and all before it"),
    ("layer_norm", NORM.replace("-1", "0").format("deviation / np.sqrt(square + eps)"), "Each row"),
    ("layer_norm", NORM.format("deviation / np.sqrt(square + eps)"), "Multiply by weight"),
    ("layer_norm", NORM.format("x / np.sqrt(square + eps)"), "Subtract the mean, then divide"),
    ("layer_norm", NORM.format("deviation / np.sqrt(square * len(x) / (len(x) - 1) + eps)"),
     "Subtract the mean, then divide"),
    ("layer_norm", NORM.format("deviation / (np.sqrt(square) + eps) * weight + bias"), "eps"),
    ("layer_norm", "x = Tensor(x.data)" + NORM.format(
        "deviation / np.sqrt(square + eps) * weight + bias"), "constant to the engine"),
    ("count_parameters", BLOCK + "return 2 * V * C + layers * block", "it counts once"),
    ("count_parameters", BLOCK + "return (V + longest) * C + layers * block", "sines"),
    ("count_parameters", BLOCK + "return V * C + layers * (block - 4 * C)", "two layer norms"),
    ("count_parameters", BLOCK + "return V * C + layers * (block - 5 * C - d_ff)", "has a bias"),
    ("count_parameters", BLOCK + "return float(V * C + layers * block)",
     "arrived: 68096.0 hint: Return a whole number, not a float."),
    ("count_values", "return 1.0", "Return a whole number, not a float."),
    ("count_parameters", "return V", "a Linear, a LayerNorm or an Embedding"),
    ("count_parameters", "return 68096", "arrived: 68096"),
    ("adam_step", ADAM.format("g**2", "m / (s_now**0.5 + 1e-8)"), "too small at first"),
    ("adam_step", ADAM.format("g", "m_now / (s_now**0.5 + 1e-8)"), "the square of g"),
    ("adam_step", ADAM.format("g**2", "m_now / (s_now + 1e-8) ** 0.5"), "not under it"),
    ("adam_step", ADAM.format("g**2", "m / (s**0.5 + 1e-8)"), "too small at first"),
    ("adam_step", ADAM.format("g**2", "-m_now / (s_now**0.5 + 1e-8)"), "p moves against m_now"),
    ("adam_step", ADAM.format("g**2", "m_now / (s_now + 1e-8)"), "p moves against m_now"),
    ("adam_step", "return None, m + 0.1 * (g - m), s + 0.01 * (g * g - s)", "a `return`"),
    ("adam_step", "return p[:1] * 2, m + 0.1 * (g - m), s + 0.01 * (g * g - s)", "p moves"),
    ("adam_step", "return ()", "arrived: () hint: Return a tuple of this length"),
    ("adam_step", "m += 0.1 * (g - m)\ns += 0.01 * (g * g - s)\n"
     "root = (s / (1 - 0.99**step)) ** 0.5\n"
     "return p - rate * m / (1 - 0.9**step) / (root + 1e-8), m, s", "`x = x + y` makes a new one"),
    ("floor_of", FLOOR.replace("sentence.split()", "sentence").join([COUNTER, COSTS]), "`split()`"),
    ("floor_of", "n = len(sentences)\nwords = sum(len(s.split()) + 1 for s in sentences)\n"
     "return n * np.log(n) / words", "The same sentence twice"),
    ("floor_of", FLOOR.join([COUNTER, COSTS.replace("len(s)", "len(s) - 1")]), "also <END>"),
    ("floor_of", "words = [['<', *s.split(), '>'] for s in sentences]\n"
     "pairs = [pair for s in words for pair in zip(s, s[1:])]\n"
     "first = [a for a, _ in pairs]\n"
     "return sum(np.log(first.count(a) / pairs.count((a, b))) for a, b in pairs) / len(pairs)",
     "the whole beginning, not on one word"),
    ("top_k", TOP.replace("-k", "-min(k, len(logits))") +
     "return softmax(np.where(kept, logits, -np.inf))", "Return a NumPy array, not a Tensor"),
    ("top_k", TOP.replace("-k", "-min(k, len(logits))") + "logits[~kept] = -np.inf\n"
     "return softmax(logits).data", "`x = x + y` makes a new one"),
    ("top_k", TOP + "return np.where(kept, softmax(logits).data, 0)", "the rest adds up to 1"),
    ("top_k", TOP + "return softmax(np.where(kept, logits, 0)).data", "the logit minus infinity"),
    ("top_k", TOP + "return softmax(np.where(kept, logits, -np.inf)).data", "IndexError"),
    ("top_k", "return softmax(np.where(logits > np.sort(logits)[-2], logits, -np.inf)).data",
     "the rest adds up to 1"),
    ("softplus", "return np.log(1 + np.exp(x)), (lambda g: g / (1 + np.exp(-x)),)", "never large"),
    ("softplus", "return np.logaddexp(0, x), (lambda g: g * np.exp(x),)", "What is the slope at 0"),
    ("softplus", "v = np.maximum(x, 0) + np.log(1 + np.exp(-abs(x)))\n"
     "return v, (lambda g: g * np.exp(x) / (1 + np.exp(x)),)", "Use e^-|x|"),
    ("find_the_fault", "check_gradients(candidate, np.array([0.1, 0.5, -0.7]))", "axis -1, always"),
    ("find_the_fault", FIND + "check_gradients(lambda x: candidate(x, axis=0), x)\n"
     "np.testing.assert_allclose(candidate(x, axis=0).data, softmax(x, axis=0).data)",
     "given: a wrong gradient along axis 1"),
    ("find_the_fault", FIND + "for axis in (0, 1):\n"
     "    check_gradients(lambda x: candidate(x, axis=axis), x)", "for three axes"),
    ("find_the_fault", EACH, "compare the values too, for each axis"),
    ("find_the_fault", EACH + "    np.testing.assert_allclose(candidate(x).data, softmax(x).data)",
     "the softmax along axis -1, always"),
    ("find_the_fault", "pass", "Compare values, and call check_gradients, for each axis"),
    ("find_the_fault", "return candidate(np.ones(2), axis=5)", "given: find_the_fault(candidate)"),
    ("find_the_fault", FIND + "assert (candidate(x).data == softmax(x).data).all()", "of exp"),
    ("find_the_fault", FIND + "assert candidate(x).data.sum() == 1", "asks for too much"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "hint"), WRONG, ids=[name for name, _, _ in WRONG])
def test_a_wrong_answer_is_refused_with_a_hint(name, body, hint, capsys):
    answer(name, body)
    text = report(name, capsys)
    assert text.startswith("not yet ")
    assert hint in text


def test_each_exercise_has_two_wrong_answers_or_more():
    assert all([name for name, _, _ in WRONG].count(name) >= 2 for name in PAGE_OF)


@pytest.mark.parametrize(("name", "body"), [
    ("count_values", "def walk(v):\n    return {v}.union(*map(walk, v.parents))\n"
     "return len(walk(result))"),
    ("passes_by_accident", "return 0.666667"),
    ("sum_to", "while g.ndim > len(shape):\n    g = g.sum(axis=0)\nfor i, n in enumerate(shape):\n"
     "    if n == 1:\n        g = g.sum(axis=i, keepdims=True)\nreturn g"),
    ("fit_better", "return 32, 0.1, 2000"),
    ("leak", FUTURE + "weights = softmax(q @ k.T / math.sqrt(C)) * ~future\n"
     "return weights / weights.sum(axis=1, keepdims=True) @ v"),
    ("softplus", "return np.logaddexp(0, x), (lambda g: g / (1 + np.exp(-x)),)"),
])  # fmt: skip
def test_other_right_answers_are_accepted(name, body, capsys):
    answer(name, body)
    assert report(name, capsys) == "right"


# ---------------------------------------------------------------- misuse


@pytest.mark.parametrize("page", ["0", "11", "x", "-", "exercise_01.py"])
def test_no_such_page(page, capsys):
    assert main([page]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"There is no page {page}: the pages are 1 to 10.\n")


@pytest.mark.parametrize(("text", "message"), [
    (b"import math\n\ndef subtract(x, y)\n    return x\n", "line 3: SyntaxError: expected ':'"),
    (b"import math\nimport numpyy\n",
     "line 2: ModuleNotFoundError: No module named 'numpyy'"),
    (b"from docs.tour.exercises.pages import from_page\n\n\nfrom_page(1, 'Valeu')\n",
     "line 4: KeyError: 'Valeu'"),
    (b"x = 1\nraise SystemExit(0)\n", "line 2: SystemExit: 0"),
    (b"x = '\xff'\n", "SyntaxError: "), (b"x = 1\0\n", "source code "),
])  # fmt: skip
def test_a_file_that_cannot_be_imported(text, message, capsys):
    Path("exercise_01.py").write_bytes(text)
    assert main(["1"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and max(map(len, err.splitlines())) < 80
    assert err.startswith("exercise_01.py") and message in " ".join(err.split())


def test_a_folder_in_place_of_the_file(capsys):
    Path("exercise_01.py").mkdir()
    assert main(["1"]) == 2
    assert capsys.readouterr().err.startswith("exercise_01.py: IsADirectoryError")


def test_an_exception_is_shown_with_the_line_of_the_learner(capsys):
    answer("subtract", "z = x.data - y\nreturn z")
    text = QUESTIONS[0].read_text("utf-8")
    line = text[: text.index('    raise NotImplementedError("subtract")')].count("\n") + 1
    assert f"exercise_01.py, line {line}: TypeError: unsupported" in report("subtract", capsys)
    answer("matmul", 'return Value(x.data @ y.data, (x, y), "@", (1.0, 2.0))')
    assert "raised when the engine used what you returned" in report("matmul", capsys)
    answer("own_softmax", "e = np.exp(x)\nreturn e / e.sum(axis=axis) @ x[:, None, None], None")
    text = report("own_softmax", capsys)
    assert "given: own_softmax([0.55, 0.05, 1.39], -1) error: exercise_06.py, line " in text
    assert text.endswith("hint: It was raised in your op, called by the engine.")
    assert "own_softmax is" not in text
    answer("softplus", "import math\nreturn math.log(1 + math.exp(x)), None")
    assert "Use np.exp, not math.exp" in report("softplus", capsys)
    answer("sum_to", "return g.reshape(shape)")
    assert re.search(r"given: sum_to\(\[\[.*\]\], \(3,\)\) error:", report("sum_to", capsys))
    answer("count_values", "exit()")
    assert "SystemExit" in report("count_values", capsys)


def test_after_a_while_the_judge_says_that_it_is_still_running(capsys, monkeypatch):
    monkeypatch.setattr("docs.tour.exercises.__main__.PATIENCE", 0.05)
    answer("count_values", "import time\ntime.sleep(0.2)\nreturn 0")
    main(["1"])
    assert capsys.readouterr().err == "still running; Ctrl-C stops it and names the line\n"


def test_numbers_side_by_side_are_shown_in_one_notation():
    arrays = np.array([1.3624, 1e-17]), np.array([1.04, 0]), np.array([2e-12, 4e-17])
    assert [shown(a) for a in arrays] == ["[1.3624, 0.]", "[1.04, 0.]", "[2.e-12, 4.e-17]"]
    assert shown((64, 0.2, None, "a", [1])) == "(64, 0.2, None, 'a', [1])"


def test_an_exercise_that_is_gone(capsys):
    Path("exercise_01.py").write_text("subtract = 3\n", "utf-8")
    assert "exercise_01.py has no function `subtract` any more" in report("subtract", capsys)


def test_ctrl_c_ends_an_endless_loop():
    answer("count_values", 'print("begun", flush=True)\nwhile True:\n    pass')
    command = [sys.executable, "-m", "docs.tour.exercises", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=environment)  # fmt: skip
    assert process.stdout.readline() == "1. subtract: not begun\n"
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and out == ""
    assert re.fullmatch(r"\nStopped: exercise_01.py, line \d+\.\n", err)
