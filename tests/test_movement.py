"""What only moves entries about: a table of calls, each tested as calculus.py tells."""

import inspect

import numpy as np
import pytest
from calculus import check, each_name, flat, row
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import autograd as ag
from autograd import Tensor, check_gradients, grad
from autograd.testing import arrays


def leaf(data):
    return Tensor(np.asarray(data, float), requires_grad=True)


FLAGS = np.array([True, False, True])
ROWS = [
    row("flip", np.flip, (2, 3)),
    row("flip", lambda x: np.flip(x, -1), (2, 3)),
    row("flip", lambda x: np.flip(x, (0, 2)), (2, 3, 2)),
    row("flip", np.flip, ()),
    row("fliplr", np.fliplr, (2, 3)),
    row("flipud", np.flipud, (2, 3)),
    row("roll", lambda x: np.roll(x, 2), (2, 3)),
    row("roll", lambda x: np.roll(x, (1, -1), axis=(0, 1)), (3, 3)),
    row("rot90", np.rot90, (2, 3)),
    row("rot90", lambda x: np.rot90(x, k=-1, axes=(1, 2)), (1, 2, 3)),
    row("repeat", lambda x: np.repeat(x, 2), (2, 3)),
    row("repeat", lambda x: np.repeat(x, [2, 0, 1], axis=1), (2, 3)),
    row("tile", lambda x: np.tile(x, 2), (2, 3)),
    row("tile", lambda x: np.tile(x, (2, 1, 2)), (2, 2)),
    row("diag", np.diag, (3,)),
    row("diag", lambda x: np.diag(x, k=-1), (2,)),
    row("diag", lambda x: np.diag(x, 1), (3, 3)),
    row("diagonal", np.diagonal, (2, 3)),
    row("diagonal", lambda x: np.diagonal(x, 1, 2, 0), (3, 2, 3)),
    row("diagonal", lambda x: np.linalg.diagonal(x, offset=-1), (2, 3, 3)),
    row("diagflat", lambda x: np.diagflat(x, 1), (2, 2)),
    row("tril", np.tril, (3, 3)),
    row("tril", lambda x: np.tril(x, k=-1), (2, 3, 2)),
    row("tril", np.tril, (3,)),
    row("triu", np.triu, (3, 3)),
    row("triu", lambda x: np.triu(x, 1), (2, 2, 3)),
    row("hstack", lambda x, y: np.hstack([x, y]), (2,), ()),
    row("hstack", lambda x, y: np.hstack((x, y)), (2, 1), (2, 2)),
    row("hstack", lambda x, y: np.hstack((x, y)), (2, 1, 2), (2, 2, 2)),
    row("hstack", lambda x: np.hstack(x), (2, 3)),
    row("vstack", lambda x, y: np.vstack([x, y]), (3,), (2, 3)),
    row("dstack", lambda x, y: np.dstack([x, y]), (3,), (1, 3, 2)),
    row("dstack", lambda x, y: np.dstack([x, y]), (2, 3), (2, 3)),
    row("column_stack", lambda x, y, z: np.column_stack([x, y, z]), (2,), (2, 3), (2,)),
    row("block", lambda x, y, z: np.block([[x, y], [z]]), (2, 1), (2, 2), (1, 3)),
    row("block", lambda x: np.block([x, x]), ()),
    row("append", lambda x, y: np.append(x, y), (2, 3), (2,)),
    row("append", lambda x, y: np.append(x, y, axis=1), (2, 3), (2, 1)),
    row("insert", lambda x, y: np.insert(x, 1, y, axis=1), (2, 3), (2,)),
    row("insert", lambda x, y: np.insert(x, [0, 2, 2], y), (3,), (3,)),
    row("insert", lambda x, y: np.insert(x, slice(0, 2), y), (3,), ()),
    row("insert", lambda x: np.insert(x, 1, 5.0), (2, 2)),
    row("delete", lambda x: np.delete(x, 1, axis=1), (2, 3)),
    row("delete", lambda x: np.delete(x, [0, -1]), (2, 3)),
    row("delete", lambda x: np.delete(x, FLAGS, 1), (2, 3)),
    row("array_split", lambda x: np.array_split(x, 2), (3, 2)),
    row("array_split", lambda x: np.array_split(x, [1, 1, 4], axis=-1), (2, 3)),
    row("hsplit", lambda x: np.hsplit(x, 3), (2, 3)),
    row("hsplit", lambda x: np.hsplit(x, [1]), (3,)),
    row("hsplit", lambda x: np.hsplit(x, 2), (2, 2, 2)),
    row("vsplit", lambda x: np.vsplit(x, [1]), (3, 2)),
    row("dsplit", lambda x: np.dsplit(x, 2), (1, 3, 2)),
    row("moveaxis", lambda x: np.moveaxis(x, 0, -1), (2, 3, 2)),
    row("moveaxis", lambda x: np.moveaxis(x, source=[0, 1], destination=[2, 0]), (2, 3, 1)),
    row("rollaxis", lambda x: np.rollaxis(x, 2), (2, 3, 1)),
    row("rollaxis", lambda x: np.rollaxis(x, 0, start=2), (2, 3, 1)),
    row("permute_dims", lambda x: np.permute_dims(x, (1, 2, 0)), (2, 3, 1)),
    row("matrix_transpose", np.matrix_transpose, (2, 3, 1)),
    row("matrix_transpose", np.linalg.matrix_transpose, (2, 3)),
    row("ravel", np.ravel, (2, 3)),
    row("ravel", lambda x: np.ravel(x, order="F"), (2, 3)),
    row("atleast_1d", np.atleast_1d, ()),
    row("atleast_1d", lambda x, y: np.atleast_1d(x, y), (), (2, 1)),
    row("atleast_2d", np.atleast_2d, (3,)),
    row("atleast_3d", np.atleast_3d, (3,)),
    row("atleast_3d", np.atleast_3d, (2, 3)),
    row("broadcast_arrays", lambda x, y: np.broadcast_arrays(x, y), (2, 1), (3,)),
    row("meshgrid", lambda x, y: np.meshgrid(x, y), (2,), (3,)),
    row("meshgrid", lambda x, y, z: np.meshgrid(x, y, z, indexing="ij"), (2,), (1,), (3,)),
    row("meshgrid", lambda x, y: np.meshgrid(x, y, sparse=True), (2,), (3,)),
    row("meshgrid", lambda x: np.meshgrid(x, copy=False), ()),
    row("resize", lambda x: np.resize(x, (2, 4)), (3,)),
    row("resize", lambda x: np.resize(x, 2), (2, 2)),
    row("copy", np.copy, (2, 3)),
    row("full_like", lambda x, y: np.full_like(x, y), (2, 3), ()),
    row("fftshift", lambda x: np.fft.fftshift(x, axes=1), (2, 5)),
    row("ifftshift", np.fft.ifftshift, (3, 4)),
    row("full_like", lambda x, y: np.full_like(x, y, shape=(4, 3)), (2,), (3,)),
    row("copy", lambda x: np.copy(x, order="F"), (2, 3)),
    row("sliding_window_view", lambda x: sliding_window_view(x, 2), (4,)),
    row("sliding_window_view", lambda x: sliding_window_view(x, (2, 1)), (3, 3)),
    row("sliding_window_view", lambda x: sliding_window_view(x, 2, axis=-2), (3, 3)),
    row("sliding_window_view", lambda x: sliding_window_view(x, (2, 3), (1, 0)), (3, 3, 1)),
    row("sliding_window_view", lambda x: sliding_window_view(x, (2, 2), (0, 0)), (4, 2)),
    row("sliding_window_view", lambda x: sliding_window_view(x, 0), (2,)),
    row("compress", lambda x: np.compress(FLAGS, x), (2, 3)),
    row("compress", lambda x: np.compress([0, 1], x, axis=0), (2, 3)),
    row("extract", lambda x: np.extract([FLAGS, ~FLAGS], x), (2, 3)),
    row("choose", lambda x, y: np.choose([[0, 1, 0], [1, 1, 0]], [x, y]), (2, 3), (3,)),
    row("choose", lambda x: np.choose([0, 1, 1], x), (2, 3)),
    row("choose", lambda x, y: np.choose([3, -1], [x, y], mode="wrap"), (2,), ()),
    row("choose", lambda x, y: np.choose([3, -1], [x, y], mode="clip"), (2,), ()),
    row("take", lambda x: np.take(x, [7, -7, 2], mode="wrap"), (2, 3)),
    row("take", lambda x: np.take(x, [[7], [-7]], 1, mode="clip"), (2, 3)),
    row("take", lambda x: np.take(x, [0, 0], axis=0, mode="raise"), (2, 3)),
    row("take_along_axis", lambda x: np.take_along_axis(x, np.array([[1], [0]]), 1), (2, 3)),
]
if hasattr(np, "unstack"):
    ROWS += [row("unstack", np.unstack, (2, 3)),
             row("unstack", lambda x: np.unstack(x, axis=-2), (2, 1, 3))]  # fmt: skip


def padded(shape, width, mode, distinct=False, **options):
    return row(f"pad {mode}", lambda x: np.pad(x, width, mode, **options), shape, distinct=distinct)


WIDTHS = [1, (0, 2), ((2, 0), (0, 1)), 0]
ROWS += [
    *(padded((2, 3), width, mode) for width in WIDTHS for mode in ("constant", "edge", "wrap")),
    *(padded((3,), width, mode, reflect_type=kind) for width in (1, (0, 2), (9, 4), (3, 7))
      for mode in ("reflect", "symmetric") for kind in ("even", "odd")),
    *(padded((1, 2), ((2, 1), (0, 2)), mode, reflect_type="odd")
      for mode in ("reflect", "symmetric")),
    *(padded((2, 2), ((1, 0), (0, 2)), mode, distinct=True)
      for mode in ("maximum", "minimum", "mean", "linear_ramp")),
    *(padded((4,), (1, 2), mode, distinct=True, stat_length=length)
      for mode in ("maximum", "minimum", "mean") for length in (2, (1, 9))),
    padded((2, 3), 2, "linear_ramp", end_values=((5, -1), (2, 3))),
    *(padded(shape, (2, 1), mode, distinct=True) for shape in [(3,), (2, 2, 3)]
      for mode in ("linear_ramp", "mean", "median", "maximum")),
    padded((2, 3), ((1, 2), (3, 0)), "linear_ramp", end_values=4),
    padded((2, 3), 1, "constant", constant_values=((1, 2), (3, 4))),
    padded((), 1, "constant"), padded((0, 2), ((1, 2), (0, 0)), "constant"),
]  # fmt: skip
ROWS += [padded((2, 3), 2, "median", distinct=True)]


@each_name(ROWS)
def test_value_and_derivatives(rows):
    for r in rows:
        check(r)


# Calls with constants beside the Tensor, of which NumPy makes the dtype.
MIXED = [
    lambda x: np.hstack([x, 1.0]), lambda x: np.hstack([np.float32(1), x]),
    lambda x: np.vstack([[1.0, 2.0], x]), lambda x: np.dstack([np.arange(2), x]),
    lambda x: np.column_stack([x, np.ones(2, np.float16)]), lambda x: np.append([1, 2], x),
    lambda x: np.append(x, 3.0), lambda x: np.block([[x, 1.0], [np.ones((1, 3), np.float32)]]),
    lambda x: np.insert(x, 1, [7.0]), lambda x: np.insert([1.0, 2.0], 1, x),
    lambda x: np.insert(np.ones(2), [0, 1], x), lambda x: np.choose([2, 0], [x, 1, 2.0]),
    lambda x: np.atleast_2d(x, np.float32(2))[1] + x, lambda x: np.broadcast_arrays(1, x)[1],
    lambda x: np.meshgrid(x, np.arange(3))[0], lambda x: np.tile(x, np.array([2, 1])),
    lambda x: np.stack(np.broadcast_arrays(x, [[3.0], [4.0]])),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_constants_beside_tensors(dtype):
    x = np.array([0.5, -1.5], dtype)
    for call in MIXED:
        made, expected = call(Tensor(x, requires_grad=True)), call(x)
        assert made.dtype == expected.dtype and made.requires_grad
        np.testing.assert_array_equal(made.data, expected)
        check_gradients(call, x)


def test_tensors_of_integers_are_constants():
    x, index = leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), Tensor([2, 0])
    np.testing.assert_array_equal(np.delete(x, index, 1).data, [[2], [5]])
    np.testing.assert_array_equal(np.repeat(x, index, axis=0).data, x.data[[0, 0]])
    np.testing.assert_array_equal(np.choose(Tensor([1, 0]), [x[0, :2], x[1, :2]]).data, [4, 2])
    for function in (lambda x: np.roll(x, 1), lambda x: np.copy(x)):
        made, expected = function(index), function(index.data)
        assert type(made) is Tensor and made.dtype == expected.dtype
        np.testing.assert_array_equal(made.data, expected)
    for function in (lambda x: np.delete(x, index, 1), lambda x: np.repeat(x, index, axis=0),
                     lambda x: np.choose(Tensor([1, 0]), [x[0, :2], x[1, :2]])):  # fmt: skip
        check_gradients(function, x.data)


def test_an_order_in_memory_is_that_of_the_array():
    x = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    for order in "CFAK":
        t = leaf(x)
        y = np.ravel(t, order)
        np.testing.assert_array_equal(y.data, np.ravel(x, order))
        (g,) = grad(y, t, np.arange(6.0))
        np.testing.assert_array_equal(np.asfortranarray(g.data).ravel(order), np.arange(6.0))


def test_trim_zeros():
    x = np.array([0.0, 0.0, 1.5, 0.0, 2.0, 0.0])
    for trim in ("fb", "f", "b", "FB"):
        t = leaf(x)
        y = np.trim_zeros(t, trim)
        np.testing.assert_array_equal(y.data, np.trim_zeros(x, trim))
        (g,) = grad((y * np.arange(1, y.size + 1)).sum(), t)
        start = 2 if "f" in trim.lower() else 0
        expected = np.zeros(6)
        expected[start : start + y.size] = np.arange(1, y.size + 1)
        np.testing.assert_array_equal(g.data, expected)
    assert np.trim_zeros(leaf([0.0, 0.0])).shape == (0,)
    if "axis" in inspect.signature(np.trim_zeros).parameters:
        matrix = np.array([[0.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
        assert np.trim_zeros(leaf(matrix)).data.tolist() == [[3]]
        assert np.trim_zeros(leaf(matrix), axis=1).data.tolist() == [[0], [3]]


def test_what_empty_pads_is_zero():
    t = leaf([1.0, 2.0])
    assert np.pad(t, (2, 1), "empty").data.tolist() == [0, 0, 1, 2, 0]


def test_pad_is_a_method_and_a_name_of_its_own():
    t = leaf([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(t.pad(1, mode="edge").data, [1, 1, 2, 4, 4])
    np.testing.assert_array_equal(ag.pad(t, (0, 1), constant_values=7).data, [1, 2, 4, 7])
    np.testing.assert_array_equal(ag.pad([1.0, 2.0], 1, "reflect").data, [2, 1, 2, 1])
    np.testing.assert_array_equal(np.pad(leaf([[1.0]]), {-1: (1, 2), 0: 1}).data,
                                  [[0] * 4, [0, 1, 0, 0], [0] * 4])  # fmt: skip
    for mode in ("constant", "edge", "mean", "linear_ramp"):  # a dict leaves axes out
        made = np.pad(leaf([[1.0, 3.0], [2.0, 5.0]]), {-1: (1, 2)}, mode)
        expected = np.pad([[1.0, 3.0], [2.0, 5.0]], ((0, 0), (1, 2)), mode)
        np.testing.assert_array_equal(made.data, expected)
    ties = leaf([1.0, 1.0])
    (g,) = grad(np.pad(ties, (0, 1), "maximum").sum(), ties)
    assert g.data.tolist() == [1.5, 1.5]


def test_nan_and_inf_stay_where_they_are():
    x = np.array([np.nan, np.inf, -np.inf, 1.0])
    for call in (np.flip, np.tril, lambda x: np.pad(x, 2, "edge"), lambda x: np.repeat(x, 2),
                 lambda x: np.pad(x[1:], 2, "symmetric"), lambda x: np.diag(x)):  # fmt: skip
        np.testing.assert_array_equal(call(leaf(x)).data, call(x))


REFUSED = [
    (lambda t: np.flip(t, 5), ValueError, "^flip of shapes .2, 3.: axis 5 is out of bounds"),
    (lambda t: np.hstack([t, t[0]]), ValueError, r"^np\.hstack: .* \(2, 3\), \(3,\)"),
    (lambda t: np.hstack([]), ValueError, "at least one array"),
    (lambda t: np.vstack([t, t[:, :2]]), ValueError, r"^np\.vstack: "),
    (lambda t: np.hstack([t], dtype=np.float32), TypeError, r"^np\.hstack\(dtype=\)"),
    (lambda t: np.moveaxis(t, 0, 4), ValueError, r"^np\.moveaxis: .*axis 4 is out of bounds"),
    (lambda t: np.matrix_transpose(t[0]), ValueError, r"^np\.matrix_transpose: "),
    (lambda t: np.array_split(t, 0), ValueError, r"^np\.array_split: "),
    (lambda t: np.hsplit(t, 2), ValueError, r"^np\.hsplit: .*equal division"),
    (lambda t: np.hsplit(t[0, 0], 1), ValueError, "^hsplit only works on arrays of 1"),
    (lambda t: np.vsplit(t[0], 1), ValueError, "^vsplit only works on arrays of 2"),
    (lambda t: np.dsplit(t, 1), ValueError, "^dsplit only works on arrays of 3"),
    (lambda t: np.compress([True], t, out=np.ones(1)), TypeError, r"^np\.compress\(out=\)"),
    (lambda t: np.choose([0], [t, t], np.ones(1)), TypeError, r"^np\.choose\(out=\)"),
    (lambda t: np.choose([5], [t, t]), ValueError, "^choose of shapes .*invalid entry"),
    (lambda t: np.pad(t, 1, lambda *args: None), TypeError, "^pad: a function as mode"),
    (lambda t: np.pad(t, 1, "edges"), ValueError, r"^np\.pad: mode 'edges'"),
    (lambda t: np.pad(t, 1, "edge", end_values=3), ValueError, r"^np\.pad: unsupported keyword"),
    (lambda t: np.pad(t, 1, end_values=3), ValueError, "^pad of shapes .*unsupported keyword"),
    (lambda t: np.pad(t, -1), ValueError, "^pad of shapes .*negative"),
    (lambda t: np.pad(t, 1.5, "edge"), TypeError, "integral type"),
    (lambda t: np.pad(t[:0], 1, "edge"), ValueError, r"^np\.pad: can't extend empty axis 0"),
    (lambda t: sliding_window_view(t, (3, 3)), ValueError,
     r"sliding_window_view.* cannot be larger than input"),
    (lambda t: sliding_window_view(t, 1, writeable=True), TypeError, r"\(writeable=\)"),
    (lambda t: as_strided(t, (2,), (8,)), TypeError, "would lose the graph"),
    (lambda t: np.require(t), TypeError, "would lose the graph"),
    (lambda t: np.ascontiguousarray(t), TypeError, "would lose the graph"),
    (lambda t: np.asarray_chkfinite(t), TypeError, "would lose the graph"),
    (lambda t: np.take(t, 0, mode="near"), ValueError, r"^np\.take: .*clip"),
    (lambda t: np.take(t, [9]), IndexError, r"^np\.take: .*index 9 is out of bounds"),
    (lambda t: np.meshgrid(t[0], indexing="yx"), ValueError, r"^np\.meshgrid: .*indexing"),
    (lambda t: np.broadcast_arrays(t, t[:, :2]), ValueError, r"^np\.broadcast_arrays: "),
    (lambda t: np.tril(t[0, 0]), TypeError, r"^np\.tril: "),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
def test_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call(leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))


def test_what_writes_into_its_argument_is_refused_where_there_is_a_graph():
    t = leaf([1.0, 2.0, 3.0])
    for write in (
        lambda a, v: np.place(a, FLAGS, v), lambda a, v: np.put(a, [0], v),
        lambda a, v: np.putmask(a, FLAGS, v),
        lambda a, v: np.put_along_axis(a, np.arange(3), v, 0),
        lambda a, v: np.fill_diagonal(a.reshape(1, 3), v), lambda a, v: np.copyto(a, v),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"^a Tensor cannot be assigned to"):
            write(t, 1.0)
        with pytest.raises(TypeError, match=r"cannot be assigned to|would lose the graph"):
            write(np.ones(3), t)
        out = np.ones(3)
        write(out, t.detach())
        assert out[0] == 1 and out.sum() > 2


@settings(max_examples=20)
@given(st.data())
def test_drawn_calls(data):
    x = data.draw(arrays(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = data.draw(st.integers(-3, 3))
    k = abs(n)
    width = data.draw(hnp.arrays(int, (x.ndim, 2), elements=st.integers(0, 4)))
    mode = data.draw(st.sampled_from(["edge", "reflect", "symmetric", "wrap", "mean",
                                      "linear_ramp", "constant"]))  # fmt: skip
    calls = [
        lambda x: np.roll(x, n, axis), lambda x: np.repeat(x, k, axis), lambda x: np.flip(x, axis),
        lambda x: np.tile(x, (k, 2)), lambda x: np.moveaxis(x, axis, 0), lambda x: np.triu(x, n),
        lambda x: np.delete(x, 0, axis), lambda x: np.insert(x, [0, 0], x.take([0], axis), axis),
        lambda x: np.array_split(x, k + 1, axis), lambda x: np.resize(x, (k, 2)),
        lambda x: np.pad(x, width, mode), lambda x: sliding_window_view(x, 1, axis),
    ]  # fmt: skip
    call = data.draw(st.sampled_from(calls))
    made, expected = call(leaf(x)), call(x)
    for a, b in zip(flat(made), flat(expected), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.data, b, rtol=1e-12, atol=1e-12)
    check_gradients(call, x, entries=6)
