"""Every property of every op, from its record in records.py."""

import functools
import sys

import numpy as np
import pytest
from records import RECORDS, ROWS

import autograd as ag
from autograd import Tensor, check_gradients, grad
from autograd.dispatch import registry
from nn import functional as F

# Kernels work in blocks: in these, so small that every case has several, whole and not.
BLOCKS = [(ag.ops, "_BLOCK", 5), (F, "BLOCK", 5), (F, "_QUERIES", 2), (F, "_SCORES", 8),
          (F, "_LOGITS", 7)]  # fmt: skip


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    for module, name, size in BLOCKS:
        monkeypatch.setattr(module, name, size)


NOT_OPS = {"GradientWriter", "IGNORE_INDEX", "Tensor", "check_gradients", "detect_anomaly",
           "dropout_mask", "grad", "implements", "in_float32", "in_this_mode", "no_grad",
           "op", "to_dot", "rotary_tables"}  # fmt: skip


def each_row_where(applies):
    """Test a property of the rows for which it makes sense: one test per record, with all cases."""
    groups = {}
    for record, case in ROWS:
        if applies(record, case):
            groups.setdefault(id(record), (record, []))[1].append(case)

    def decorate(test):
        ids = [record.name for record, _ in groups.values()]

        @pytest.mark.parametrize(("record", "cases"), groups.values(), ids=ids)
        @functools.wraps(test)
        def of_all_cases(record, cases):
            for case in cases:
                print(f"{record.name}: {case}")  # shown if it fails
                test(record, case)

        del of_all_cases.__wrapped__  # whose arguments pytest would look at
        return of_all_cases

    return decorate


each_row = each_row_where(lambda record, case: True)
# dropout without dropping gives its argument itself, which no op has made
each_recorded_row = each_row_where(lambda record, case: case.options.get("p") != 0)


def call(record, case, arrays):
    """The op on leaf Tensors of these arrays: (output, leaves)."""
    leaves = [Tensor(x, requires_grad=True) for x in arrays]
    return record.fn(*leaves, **case.options), leaves


def gradients(record, case, arrays, g):
    output, leaves = call(record, case, arrays)
    output.backward(g)
    return [leaf.grad for leaf in leaves]


def cotangent(record, case, arrays, seed=7):
    shape = record.fn(*arrays, **case.options).shape
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def own_ops():
    """The registered ops that are names of these modules; other rooms have rows (calculus.py)."""
    return {name for name, function in registry.items()
            if getattr(sys.modules[function.__module__], name, None) is function
            and function.__module__ in ("autograd.ops", "nn.functional")}  # fmt: skip


def test_every_op_has_a_record():
    public = {name for name in own_ops() if not name.startswith("_")} | set(ag.__all__)
    assert set(RECORDS) == (public | set(F.__all__)) - NOT_OPS


def test_every_op_runs_in_some_record():
    idle = {name for name in own_ops() if hasattr(registry[name], "traceable")}
    for record, case in ROWS:
        nodes = [call(record, case, record.draw(case))[0]]
        for node in nodes:
            if node._op is not None:
                idle.discard(node._op.__name__)
                nodes += [x for x in node._args if type(x) is Tensor]
    assert not idle


@each_row
def test_value(record, case):
    arrays = record.draw(case)
    output, _ = call(record, case, arrays)
    expected = np.asarray(record.oracle(*arrays, **case.options))
    assert type(output.data) is np.ndarray and output.shape == expected.shape
    assert output.dtype == expected.dtype == np.float64
    np.testing.assert_allclose(output.data, expected, rtol=1e-12, atol=1e-14)


@each_row_where(lambda record, case: record.analytic)  # finite differences check the others, below
def test_gradient_by_complex_step(record, case):
    arrays = record.draw(case)
    g = cotangent(record, case, arrays)
    for i, gx in enumerate(gradients(record, case, arrays, g)):
        expected = np.zeros(arrays[i].shape)
        for index in np.ndindex(arrays[i].shape):
            moved = [x.astype(complex) for x in arrays]
            moved[i][index] += 1e-20j
            value = record.oracle(*moved, **case.options)
            expected[index] = np.sum(g * np.imag(value)) / 1e-20
        np.testing.assert_allclose(gx, expected, rtol=1e-10, atol=1e-10)


@each_row
def test_gradients_by_finite_differences(record, case):
    check_gradients(
        lambda *xs: record.fn(*xs, **case.options), *record.draw(case), entries=4, order=2
    )


@each_row_where(lambda record, case: record.order >= 3 and max(map(len, case.shapes)) <= 2)
def test_third_order(record, case):
    check_gradients(
        lambda *xs: record.fn(*xs, **case.options), *record.draw(case), entries=1, order=3
    )


@each_row
def test_traced_vjp_equals_raw(record, case):
    arrays = record.draw(case)
    g = cotangent(record, case, arrays)
    output, leaves = call(record, case, arrays)
    traced = grad(output, leaves, g, create_graph=True)
    raw = gradients(record, case, arrays, g)
    for a, b in zip(raw, traced, strict=True):
        np.testing.assert_allclose(a, b.data, rtol=1e-12, atol=1e-14)


@each_recorded_row
def test_traced_value_equals_raw(record, case):
    """The body on Tensors, or the reference of a kernel, gives the same value."""
    output, _ = call(record, case, record.draw(case))
    value, _ = output._op.traceable(*output._args, **output._kwargs)
    value = value.data if type(value) is Tensor else value
    np.testing.assert_allclose(value, output.data, rtol=1e-12, atol=1e-14)


@each_row_where(lambda record, case: "dtype" not in case.options)
def test_float32(record, case):
    arrays = record.draw(case)
    g = cotangent(record, case, arrays)
    exact = gradients(record, case, arrays, g)
    singles = [x.astype(np.float32) for x in arrays]
    output, _ = call(record, case, singles)
    assert output.dtype == np.float32
    expected = record.oracle(*arrays, **case.options)
    np.testing.assert_allclose(output.data, expected, rtol=2e-5, atol=2e-5)
    for single, double in zip(
        gradients(record, case, singles, g.astype(np.float32)), exact, strict=True
    ):
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4)


@each_row_where(lambda record, case: "dtype" not in case.options)
def test_float16(record, case):
    """What is computed from numbers of half precision is right to about half precision."""
    halves = [x.astype(np.float16) for x in record.draw(case)]
    arrays = [x.astype(float) for x in halves]
    g = cotangent(record, case, arrays).astype(np.float16)
    output, leaves = call(record, case, halves)
    assert output.dtype == np.float16
    expected = record.oracle(*arrays, **case.options)
    np.testing.assert_allclose(output.data, expected, rtol=2e-3, atol=2e-3)
    exact = gradients(record, case, arrays, g.astype(float))
    size = max([1.0, *(np.abs(gx).max(initial=0) for gx in exact)])
    for half, traced, double in zip(
        gradients(record, case, halves, g), grad(output, leaves, g, create_graph=True), exact,
        strict=True,
    ):  # fmt: skip
        assert half.dtype == traced.dtype == np.float16
        np.testing.assert_allclose(half, double, rtol=4e-3, atol=4e-3 * size)
        np.testing.assert_allclose(traced.data, double, rtol=4e-3, atol=4e-3 * size)


@each_row_where(lambda record, case: "dtype" not in case.options and case.options.get("p") != 0)
def test_traced_float32(record, case):
    arrays = record.draw(case)
    g = cotangent(record, case, arrays)
    output, leaves = call(record, case, [x.astype(np.float32) for x in arrays])
    traced, _ = output._op.traceable(*output._args, **output._kwargs)
    assert traced.dtype == np.float32
    gradients_of = grad(output, leaves, g.astype(np.float32), create_graph=True)
    assert all(gx.dtype == np.float32 for gx in gradients_of)


@each_row
def test_nothing_is_written_or_shared(record, case):
    arrays, g = record.draw(case), None
    g = cotangent(record, case, arrays)
    for array in (*arrays, g):
        array.setflags(write=False)
    results = gradients(record, case, arrays, g)
    for i, gx in enumerate(results):
        assert gx.flags.writeable
        for other in (*arrays, g, *results[:i]):
            assert not np.shares_memory(gx, other)


@each_row
def test_any_memory_layout(record, case):
    arrays = record.draw(case)
    g = cotangent(record, case, arrays)
    expected = gradients(record, case, arrays, g)

    def reversed_view(x):
        flip = (slice(None, None, -1),) * x.ndim
        return x[flip].copy()[flip]

    def strided_view(x):
        return np.repeat(x[..., None], 3, axis=-1)[..., 1] if x.ndim else x

    layouts = [reversed_view, strided_view, lambda x: np.asarray(x, order="F")]
    for layout in layouts:
        moved = [layout(x) for x in arrays]
        output, _ = call(record, case, moved)
        value = record.fn(*arrays, **case.options)
        np.testing.assert_allclose(output.data, value.data, rtol=1e-12, atol=1e-14)
        for a, b in zip(gradients(record, case, moved, layout(g)), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


# Equal numbers are ties, and have standard deviation 0: these conventions have tests of their own.
@each_row_where(lambda record, case: not record.distinct and record.name != "std")
def test_zero_stride_views(record, case):
    """Inputs and cotangents that are one number seen many times."""
    arrays = [np.broadcast_to(x.flat[0] if x.size else 1.0, x.shape) for x in record.draw(case)]
    g = np.broadcast_to(0.7, record.fn(*arrays, **case.options).shape)
    expected = gradients(record, case, [x.copy() for x in arrays], g.copy())
    for a, b in zip(gradients(record, case, arrays, g), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@each_row
def test_vjp_is_linear(record, case):
    arrays = record.draw(case)
    g, h = cotangent(record, case, arrays, 1), cotangent(record, case, arrays, 2)
    separate = [
        2 * a - 3 * b
        for a, b in zip(
            gradients(record, case, arrays, g), gradients(record, case, arrays, h), strict=True
        )
    ]
    together = gradients(record, case, arrays, 2 * g - 3 * h)
    for a, b in zip(together, separate, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@each_row
def test_vjp_is_the_adjoint_of_the_jvp(record, case):
    """<g, J v> = <J' g, v>, with J v from central differences of the oracle."""
    arrays = record.draw(case)
    g, rng, h = cotangent(record, case, arrays), np.random.default_rng(3), 1e-5
    vs = [rng.uniform(-1, 1, x.shape) for x in arrays]
    ahead, behind = (
        record.oracle(*(x + s * h * v for x, v in zip(arrays, vs, strict=True)), **case.options)
        for s in (1, -1)
    )
    left = np.sum(g * (ahead - behind)) / (2 * h)
    pairs = zip(gradients(record, case, arrays, g), vs, strict=True)
    right = sum(np.sum(gx * v) for gx, v in pairs)
    np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-7)


@each_row_where(lambda record, case: record.large is not None)
def test_large_inputs(record, case):
    """No overflow, no nan, no warning (they are errors here), forward and backward."""
    for dtype in (np.float32, np.float64):
        arrays = [np.where(x < (record.low + record.high) / 2, -1, 1) * record.large
                  for x in record.draw(case)]  # fmt: skip
        arrays = [np.asarray(x, dtype) for x in arrays]
        output, leaves = call(record, case, arrays)
        assert np.isfinite(output.data).all()
        output.backward(np.ones(output.shape, dtype))
        assert all(np.isfinite(leaf.grad).all() for leaf in leaves)
