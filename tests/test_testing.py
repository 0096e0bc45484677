"""The tester tested: what autograd.testing draws, and which wrong ops its tests catch."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import autograd as ag
from autograd import Tensor, op, testing
from autograd.testing import Program, arrays, axes, broadcastable, check_op, indices, programs

pytestmark = pytest.mark.usefixtures("registry")


# ---------------------------------------------------------------- wrong ops


def twice(x, wrong=lambda x: 1.0):
    """x * x, with a factor that may be wrong in its gradient."""

    @op
    def sawtooth(x):
        return x * x, (lambda g: g * 2 * x * wrong(x),)

    return sawtooth(x)


def everywhere(x):
    return twice(x, lambda x: 1.001)


def in_one_entry(x):
    def wrong(x):
        factor = np.ones(x.shape)
        factor[(-1,) * x.ndim] = 1.001
        return factor.astype(x.dtype)

    return twice(x, lambda x: wrong(x) if x.size > 1 else 1.0)


def in_float32(x):
    return twice(x, lambda x: 1.001 if x.dtype == np.float32 else 1.0)


def at_order_2(x):
    return twice(x, lambda x: 1.0) * 0.999 + 0.001 * x * 2 * x.data - 0.001 * Tensor(x.data**2)


def into_float64(x):
    return twice(x, lambda x: np.float64(1.0)) * np.ones(1)


@op(reference=lambda x: (x * x, (lambda g: g * 2 * x,)))
def by_its_layout(x):
    return x * x, (lambda g: g * 2 * x.ravel(order="K").reshape(x.shape),)


@op
def by_writing(x):
    def vjp(g):
        g *= 2 * x
        return g

    return x * x, (vjp,)


@op
def when_broadcast(x, y):
    def vjp_y(g):
        return g * x * (1.001 if x.shape != y.shape else 1.0)

    return x * y, (lambda g: g * y, vjp_y)


@op(reference=lambda x, index: (x[index], (lambda g: ag.scatter(g, index, x.shape),)))
def for_repeated_indices(x, index):
    def vjp(g):
        gx = np.zeros(x.shape, x.dtype)
        gx[index] = g  # the last one wins
        return gx

    return x[index], (vjp,)


@op
def for_axis_0_of_squares(x, axis=None, keepdims=False):
    def vjp(g):
        if axis == 0 and x.ndim == 2 and x.shape[0] == x.shape[1]:
            return np.broadcast_to(np.expand_dims(g, 1), x.shape)
        return np.broadcast_to(np.expand_dims(g, axis) if axis is not None else g, x.shape)

    return x.sum(axis=axis), (vjp,)


def test_of(fn):
    """The ten lines of the README for an op of one array."""

    @given(arrays())
    def test(x):
        check_op(fn, x)

    return test


def test_of_two(fn):
    @given(broadcastable(2))
    def test(xs):
        check_op(fn, *xs)

    return test


def test_of_an_index(fn):
    @given(st.data())
    def test(data):
        x = data.draw(arrays((3, 2)))
        check_op(fn, x, index=data.draw(indices(x.shape)))

    return test


def test_of_an_axis(fn):
    @given(st.data())
    def test(data):
        x = data.draw(arrays())
        check_op(fn, x, axis=data.draw(axes(x.ndim)))

    return test


for maker in (test_of, test_of_two, test_of_an_index, test_of_an_axis):
    maker.__test__ = False

WRONG = [
    (test_of, everywhere, "order 1, argument 0"),
    (test_of, in_one_entry, "order 1, argument 0"),
    (test_of, in_float32, "gradient 0 in float32"),
    (test_of, at_order_2, "order 2, argument 0"),
    (test_of, into_float64, "turns float32 into float64"),
    (test_of, by_its_layout, "depends on the memory layout"),
    (test_of, by_writing, "read-only"),
    (test_of_two, when_broadcast, "order 1, argument 1"),
    (test_of_an_index, for_repeated_indices, "order 1, argument 0"),
    (test_of_an_axis, for_axis_0_of_squares, "order 1, argument 0"),
]


@pytest.mark.parametrize(("maker", "fn", "message"), WRONG, ids=[fn.__name__ for _, fn, _ in WRONG])
def test_wrong_ops_are_caught(maker, fn, message):
    test = settings(phases=[Phase.generate], print_blob=False, max_examples=100)(maker(fn))
    with pytest.raises((AssertionError, TypeError, ValueError), match=message):
        test()


@pytest.mark.parametrize(
    ("maker", "fn"),
    [(test_of, twice), (test_of_two, ag.multiply), (test_of_an_axis, ag.sum)],
)
def test_right_ops_pass(maker, fn):
    maker(fn)()


def test_several_outputs_and_integers():
    check_op(ag.split, np.arange(4.0), indices_or_sections=2)
    with pytest.raises(TypeError, match="argument 0 has dtype int64"):
        check_op(ag.exp, np.arange(3))


def test_options_and_order_reach_the_op():
    check_op(ag.sum, np.ones((2, 3)), axis=1, keepdims=True)
    check_op(at_order_2, np.ones(2), order=1)
    with pytest.raises(AssertionError, match="order 2"):
        check_op(at_order_2, np.ones(2))


def test_order_2_is_the_default():
    def at_order_3(x):
        return x * x + (x - x.data) ** 3

    check_op(at_order_3, np.ones(2))
    with pytest.raises(AssertionError, match="order 3"):
        check_op(at_order_3, np.ones(2), order=3)


def test_outputs_of_different_shapes():
    check_op(lambda x: [x * x, x.sum(), x[0]], np.ones((2, 3)))
    check_op(lambda x: (x[0], x), np.ones((2, 3)))


def test_without_a_graph():
    """A constant has gradient 0, and so has an argument that is not used."""
    check_op(lambda x: Tensor(np.sign(x.data)), np.array([1.0, -2.0]))
    check_op(lambda x, y: x * 2, np.ones(2), np.ones((3, 1)))

    def in_float64(slope):
        return lambda x: x * slope if x.dtype == float else Tensor(x.data * np.float32(slope))

    check_op(in_float64(0.0), np.ones(2))
    with pytest.raises(AssertionError, match="gradient 0 in float32"):
        check_op(in_float64(1.0), np.ones(2))


def test_the_same_cotangent_every_time():
    """Rounded to float32 where float32 and float64 are compared."""
    seen = []

    @op
    def double(x):
        return x * 2, (lambda g: seen.append(g) or g * 2,)

    for _ in range(2):
        _, g = testing._pull(double, [np.ones(3)])
        testing._check_float32(double, [np.ones(3)], g)
    assert [g.dtype for g in seen] == [float, float, np.float32] * 2
    np.testing.assert_array_equal(seen[0], seen[3])
    np.testing.assert_array_equal(seen[1], seen[2])


def writing(where):
    """2 x, which writes where it should not, but never anything new."""

    @op
    def scribble(x):
        def write(y, here):
            if where == here and type(y) is np.ndarray:
                y += 0

        write(x, "x")
        return x * 2, (lambda g: write(x, "x in the vjp") or write(g, "g") or g * 2,)

    return scribble


@pytest.mark.parametrize("where", ["x", "x in the vjp", "g"])
@pytest.mark.parametrize("x", [np.float64(3.0), np.ones(2), np.ones((2, 3))], ids=np.shape)
def test_nothing_is_written_to(where, x):
    with pytest.raises(ValueError, match="read-only"):
        check_op(writing(where), x)


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        (lambda xs, g: [xs[0].data, g + 1], "gradient 0 shares memory with an input"),
        (lambda xs, g: [g + 1, xs[0].data[:1]], "gradient 1 shares memory with an input"),
        (lambda xs, g: [g + 1, g], "gradient 1 shares memory with the incoming gradient"),
        (lambda xs, g: [g + 1] * 2, "with gradient 0"),
    ],
)
def test_shared_memory_is_named(monkeypatch, shared, message):
    monkeypatch.setattr(testing, "grad", lambda out, xs, g: map(Tensor, shared(xs, g)))
    with pytest.raises(AssertionError, match=message):
        testing._pull(ag.add, [np.ones(2), np.ones(2)])


def off(where, when, relative=0.0, absolute=0.0, slope=2.0):
    """slope * x; its value or gradient is off for such arrays as `when` says."""

    @op(reference=lambda x: (x * slope, (lambda g: g * slope,)))
    def drift(x):
        def drifted(name, y, *arrays):
            return y * (1 + relative) + absolute if name == where and when(*arrays) else y

        return drifted("value", x * slope, x), (lambda g: drifted("gradient", g * slope, x, g),)

    return drift


def reverse(x):
    return all(stride < 0 for stride in x.strides)


def columns(x):
    return x.flags.f_contiguous and not x.flags.c_contiguous


@pytest.mark.parametrize("layout", [reverse, columns])
@pytest.mark.parametrize("error", [{"relative": 1e-7}, {"absolute": 1e-10, "slope": 0.0}], ids=str)
def test_a_layout_makes_no_difference(layout, error):
    x = np.ones((2, 3))
    with pytest.raises(AssertionError, match="value depends on the memory layout"):
        check_op(off("value", layout, **error), x)
    with pytest.raises(AssertionError, match="gradient 0 depends on the memory layout"):
        check_op(off("gradient", lambda x, g: layout(x), **error), x)
    with pytest.raises(AssertionError, match="gradient 0 depends on the memory layout"):
        check_op(off("gradient", lambda x, g: layout(g), **error), x)


@pytest.mark.parametrize(
    ("where", "x", "error", "passes"),
    [
        ("value", [1, 1], {"relative": 2e-5}, True),
        ("value", [1, 1], {"relative": 3e-5}, False),
        ("gradient", [1, 1], {"relative": 1.9e-4}, True),
        ("gradient", [1, 1], {"relative": 2.5e-4}, False),
        ("value", [0, 0], {"absolute": 1.5e-6}, True),
        ("value", [0, 0], {"absolute": 3e-6}, False),
        ("value", [1000, 0], {"absolute": 1e-3}, True),  # large beside small: as in a sum
        ("value", [-1000, 0], {"absolute": 1e-3}, True),
        ("value", [1000, 0], {"absolute": 3e-3}, False),
    ],
)
def test_float32_differs_by_rounding_only(where, x, error, passes):
    fn = off(where, lambda x, *_: x.dtype == np.float32, slope=1.0, **error)
    if passes:
        check_op(fn, np.array(x, float))
    else:
        with pytest.raises(AssertionError, match=f"{where}( 0)? in float32"):
            check_op(fn, np.array(x, float))


# ---------------------------------------------------------------- strategies


def examples(strategy, n=200):
    """What a strategy draws, the same every time; of many, ten at once, which is faster."""
    seen, at_once = [], 10 if n >= 100 else 1

    @settings(max_examples=n // at_once, phases=[Phase.generate])
    @given(st.tuples(*[strategy] * at_once))
    def collect(xs):
        seen.extend(xs)

    collect()
    return seen


def sides(xs):
    return {n for x in xs for n in x.shape}


def entries(xs):
    return {*np.concatenate([x.ravel() for x in xs]).tolist()}


def test_arrays_have_every_shape():
    shapes = [x.shape for x in examples(arrays(), 400)]
    assert {len(shape) for shape in shapes} == {0, 1, 2, 3}
    assert {n for shape in shapes for n in shape} == {0, 1, 2, 3}
    assert any(len(shape) == 3 and 0 not in shape for shape in shapes)
    assert shapes.count((2, 2)) > 40 and shapes.count((3, 3)) > 40
    assert {n for shape in shapes if len(shape) != 2 for n in shape} == {0, 1, 2, 3}


def test_arrays_stay_in_bounds():
    xs = examples(arrays((3,), low=1, high=3))
    assert all(type(x) is np.ndarray and x.dtype == float and x.shape == (3,) for x in xs)
    assert min(entries(xs)) == 1 and max(entries(xs)) == 3 and len(entries(xs)) > 20
    assert min(entries(examples(arrays((3,))))) == -2 and max(entries(examples(arrays((3,))))) == 2


@pytest.mark.parametrize("shape", [(), (3,), (10, 10), st.just((2, 2))], ids=str)
@pytest.mark.parametrize("distinct", [False, True])
def test_arrays_are_arrays_of_floats(shape, distinct):
    for x in examples(arrays(shape, low=0, high=2, gap=1, distinct=distinct), 10):
        assert type(x) is np.ndarray and x.dtype == float


def test_arrays_vary():
    """Whole numbers are frequent, ties possible, and an array is not one number over and over."""
    xs = np.array(examples(arrays((6, 6)), 50))
    assert 0.3 < (xs == np.round(xs)).mean() < 0.8
    assert np.median([len({*x.ravel()}) for x in xs]) > 12
    assert any(a == b for a, b, _ in examples(arrays((3,))))


def test_arrays_keep_away():
    """By the gap, which is enough, on both sides of each kink."""
    wide = arrays((4, 4), low=-1, high=1, away_from=[0.0, 0.75], gap=0.125)
    xs = entries(examples(wide, 300))
    for kink in 0.0, 0.75:
        assert min(abs(x - kink) for x in xs) == 0.125
    assert min(xs) == -1 and max(xs) == 1 and any(0 < x < 0.75 for x in xs)
    xs = entries(examples(arrays((4, 4), away_from=[0.0]), 300))
    assert 0.05 <= min(map(abs, xs)) < 0.2 and min(xs) == -2


def apart(xs):
    return min(np.diff(np.sort(x.ravel())).min() for x in xs)


@pytest.mark.parametrize("shape", [(3,), st.just((3,))], ids=str)
def test_distinct_entries(shape):
    """They fill [low, high] where there is room, and go beyond it where there is not."""
    xs = examples(arrays(shape, low=1, high=3, gap=0.001, distinct=True))
    assert min(entries(xs)) == 1 and max(entries(xs)) == 3 and apart(xs) >= 0.001
    xs = examples(arrays(shape, low=1, high=3, gap=0.25, distinct=True))
    assert min(entries(xs)) == 1 and max(entries(xs)) > 3 and apart(xs) == 0.25


def test_many_distinct_entries():
    kinks = [-1.0, -0.5, 0.0, 0.5, 1.0]
    xs = examples(arrays((10, 10), distinct=True, away_from=kinks), 10)
    assert len(xs) == 10 and apart(xs) > 0.0499
    assert all((np.abs(x - kink) >= 0.05).all() for x in xs for kink in kinks)


def test_broadcastable_arrays():
    drawn = examples(broadcastable(2), 400)
    xs = [x for pair in drawn for x in pair]
    assert {x.ndim for x in xs} == sides(xs) == {0, 1, 2, 3}
    assert all(np.broadcast_shapes(x.shape, y.shape) is not None for x, y in drawn)
    assert any(x.ndim > y.ndim > 0 for x, y in drawn)
    assert any(x.ndim == y.ndim and x.shape != y.shape for x, y in drawn)
    assert any(x.shape == y.shape == () for x, y in drawn)

    drawn = examples(broadcastable(3, max_dims=1, max_side=2, low=1, high=2))
    xs = [x for three in drawn for x in three]
    assert {len(three) for three in drawn} == {3}
    assert {x.ndim for x in xs} == {0, 1} and sides(xs) == {0, 1, 2}
    assert min(entries(xs)) == 1 and max(entries(xs)) == 2


def test_axes():
    found = set(examples(axes(3), 500))
    ints = set(range(-3, 3))
    assert found >= {None, (), *ints}
    tuples = [a for a in found if isinstance(a, tuple)]
    assert all(len({i % 3 for i in a}) == len(a) for a in tuples)
    assert {len(a) for a in tuples} == {0, 1, 2, 3} and {i for a in tuples for i in a} == ints
    assert any(a[0] < 0 <= a[1] for a in tuples if len(a) == 2)  # counted from both ends
    assert set(examples(axes(1))) == {None, (), 0, -1, (0,), (-1,)}
    assert set(examples(axes(0))) == {None, ()}


def parts(index):
    return index if isinstance(index, tuple) else (index,)


def kind(part):
    if isinstance(part, np.ndarray):
        return "mask" if part.dtype == bool else "array"
    return "number" if isinstance(part, (int, np.integer)) else type(part).__name__


def test_indices_have_every_kind():
    drawn = examples(indices((3, 2, 2)), 600)
    kinds = {tuple(map(kind, parts(i))) for i in drawn}
    assert {("array",), ("mask",), ("slice",), ("number",)} <= kinds
    assert {("slice", "mask"), ("slice", "slice", "mask")} <= kinds
    assert any(each.count("array") > 1 for each in kinds)
    assert any("ellipsis" in each for each in kinds) and any("NoneType" in each for each in kinds)
    assert any(kind(p) == "slice" and (p.step or 1) < 0 for i in drawn for p in parts(i))
    masks = [p for i in drawn for p in parts(i) if kind(p) == "mask"]
    assert {p.shape for p in masks} == {(3, 2, 2), (3,), (2,)}
    assert all(any(0 < p.sum() < p.size for p in masks if p.ndim == n) for n in (1, 3))


def test_arrays_of_integers():
    """One or two axes of 1 to 3, numbers from either end, repeated ones among them."""
    drawn = [i for i in examples(indices((3,)), 3000) if kind(i) == "array"]
    assert {i.shape for i in drawn} == {(n,) for n in (1, 2, 3)} | {
        (m, n) for m in (1, 2, 3) for n in (1, 2, 3)
    }
    assert entries(drawn) == set(range(-3, 3))
    assert any(len({*i.ravel()}) < i.size for i in drawn)


def test_several_arrays_of_integers():
    """They broadcast together, one being a column perhaps, with other parts anywhere."""
    drawn = examples(st.composite(testing._mixed_index)((2, 3, 2, 3)), 500)
    kinds = {tuple(map(kind, parts(i))) for i in drawn}
    assert {("array",) * 2, ("slice", "array"), ("array", "slice"), ("number", "array")} <= kinds
    arrays = [[p for p in parts(i) if kind(p) == "array"] for i in drawn]
    assert any(len({p.shape for p in each}) > 1 for each in arrays)
    assert {np.broadcast(*each).ndim for each in arrays if each} == {1, 2}
    assert {len(parts(i)) for i in drawn} == {1, 2, 3, 4}


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1,), (2, 3)])
def test_indices_index(shape):
    drawn = examples(indices(shape))
    for i in drawn:
        np.zeros(shape)[i]
    found = {kind(p) for i in drawn for p in parts(i)}
    assert found >= {"mask", "ellipsis"} and ("array" in found) == (0 not in shape and shape != ())


def test_programs_run():
    x = np.array([[1.0, 2.0, 4.0], [3.0, 5.0, 8.0]])
    expected = {
        "softmax": np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
        "cumsum": x.cumsum(axis=-1),
        "mean": x.mean(axis=0, keepdims=True),
        "flip": x[:, ::-1],
        "repeat": np.stack([x[:, -1]] * 3, axis=1),
    }
    for name, y in expected.items():
        np.testing.assert_allclose(Program(1, ((name, 0),))(Tensor(x)).data, y)
    subtract = Program(2, (("negative", 0), ("subtract", 1, 2)))
    assert subtract(3.0, 4.0, functions={"negative": lambda x: -x}).item() == 7.0


def test_programs_reach_what_matters():
    drawn = examples(programs(), 300)
    assert {p.inputs for p in drawn} == {2}
    assert {len(p.steps) for p in drawn} == set(range(1, 9))
    names = {*testing._ELEMENTWISE, *testing._ALONG_AN_AXIS}
    assert {name for p in drawn for name, *_ in p.steps} == names
    for name, *operands in (step for p in drawn for step in p.steps):
        assert len(operands) == (2 if name in ("add", "subtract", "multiply") else 1)
    assert any(len(s) == 3 and s[1] == s[2] for p in drawn for s in p.steps)  # f(x, x)
    operands = [(2 + k, i) for p in drawn for k, (_, *each) in enumerate(p.steps) for i in each]
    assert all(0 <= i < n for n, i in operands)
    assert {i for n, i in operands if n == 6} == set(range(6))  # an input, or any step before
    used = [{i for _, *each in p.steps for i in each} for p in drawn]
    unused = [not {2, 3} <= u for p, u in zip(drawn, used, strict=True) if len(p.steps) > 4]
    assert any(unused) and not all(unused)


def test_programs_of_other_sizes():
    drawn = examples(programs(inputs=3, max_steps=2, elementwise=True))
    assert {p.inputs for p in drawn} == {3} and {len(p.steps) for p in drawn} == {1, 2}
    assert {name for p in drawn for name, *_ in p.steps} == {*testing._ELEMENTWISE}
    assert {i for p in drawn for _, *each in p.steps for i in each} == {0, 1, 2, 3}


def test_programs_are_values():
    program = examples(programs(), 1)[0]
    assert {program: 1}[dataclasses.replace(program)] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        program.steps = ()


def test_a_failure_shows_the_line_of_the_test(tmp_path):
    """And not the source of the check."""
    code = """from autograd import check_gradients\n\ndef test_it():
    check_gradients(lambda x: x * x.data, 3.0)\n"""
    (tmp_path / "test_wrong.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_wrong.py"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    shown = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True).stdout
    assert "> " in shown and "check_gradients(lambda x" in shown
    assert "backward gives" in shown and "_check(outputs" not in shown
