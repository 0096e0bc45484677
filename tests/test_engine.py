"""The graph: its order, its memory, its modes, and how NumPy's own functions enter it."""

import copy
import gc
import itertools
import pickle
import threading
import weakref

import numpy as np
import pytest

import autograd as ag
from autograd import GradientWriter, Tensor, check_gradients, grad, no_grad, op
from autograd import tensor as engine
from nn import functional as F


def leaf(values, dtype=float):
    return Tensor(np.array(values, dtype), requires_grad=True)


@pytest.fixture
def calls(monkeypatch):
    """Counts how often a vjp is pulled."""
    counted = []
    pull = engine._pull

    def counting(call, *args):
        counted.append(call.__name__)
        pull(call, *args)

    monkeypatch.setattr(engine, "_pull", counting)
    return counted


# ---------------------------------------------------------------- the walk


def test_a_use_of_a_use():
    a = leaf(3.0)
    b = a + a
    (b * b + b).backward()  # 4 a^2 + 2 a
    assert a.grad == 26


def test_the_same_argument_twice():
    x = leaf([2.0, 3.0])
    (x * x).backward(np.ones(2))
    np.testing.assert_array_equal(x.grad, [4, 6])
    check_gradients(lambda x: x @ x.T, np.arange(6.0).reshape(2, 3))
    check_gradients(lambda x: ag.concatenate([x, x * 2, x]), [1.0, 2.0])


def test_a_diamond_of_24_residual_additions_is_linear(calls):
    x = leaf(1.0)
    y = x
    for _ in range(24):
        y = y + y * 0.5
    y.backward()
    assert len(calls) == 48
    np.testing.assert_allclose(x.grad, 1.5**24)


def test_a_chain_of_100_000_ops():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1e-5
    y.backward()
    assert x.grad == 1


def test_a_long_chain_can_be_dropped_without_backward():
    y = leaf(1.0)
    for _ in range(100_000):
        y = -y
    del y


def test_unused_branches_are_not_walked(calls):
    x = leaf([1.0, 2.0])
    _ = np.exp(x) * 100
    y = np.sin(x)
    y.backward(np.ones(2))
    assert calls == ["sin"]


def test_leaves_created_after_their_use_partner():
    """The order is that of creation, whatever the order of the arguments."""
    x = leaf(2.0)
    y = x * x
    late = leaf(5.0)
    (late * y).backward()
    assert (x.grad, late.grad) == (20, 4)


def test_constants_and_partial_gradients():
    x, c = leaf(2.0), Tensor(3.0)
    w = leaf(4.0)
    (x * c + c * w.detach() + w * 0).backward()
    assert (x.grad, c.grad, w.grad) == (3, None, 0)


def test_a_constants_vjp_is_never_called():
    def explode(g):
        raise RuntimeError("called for a constant")

    @op
    def sawtooth(x, y):
        return x * y, (lambda g: g * y, explode)

    x = leaf(2.0)
    sawtooth(x, 3.0).backward()
    sawtooth(x, Tensor(3.0)).backward()
    assert x.grad == 6
    with pytest.raises(RuntimeError, match="called for a constant"):
        sawtooth(x, leaf(1.0)).backward()


def test_gradients_accumulate_over_backwards():
    x, y = leaf([1.0, 2.0]), leaf(3.0)
    (x * x).sum().backward()
    first = x.grad
    (x * y + x).sum().backward()
    np.testing.assert_array_equal(x.grad, [6, 8])
    assert x.grad is first and y.grad == 3  # in place: it may be part of a larger array
    x.backward([1.0, 0.0])  # a leaf that is the output itself
    np.testing.assert_array_equal(first, [7, 8])


def test_a_gradient_that_was_set_becomes_one_of_the_same_dtype():
    same = [1, 1], np.array([True, True]), np.ones(2, np.float16), np.ones(2), Tensor([1, 1])
    for first in same:
        x = leaf([1.0, 2.0], np.float32)
        x.grad = first
        (x * x).sum().backward()
        assert type(x.grad) is np.ndarray and x.grad.dtype == np.float32
        np.testing.assert_array_equal(x.grad, [3, 5])
        assert type(first) is not np.ndarray or first.sum() == 2  # not written to
    for shape in ((), (1,), (2, 1), (3,)):
        x.grad = np.ones(shape)
        with pytest.raises(ValueError, match="to None, or to an array of that"):
            (x * x).sum().backward()


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_of_a_leaf_is_a_leaf(copied):
    x = leaf([1.0, 2.0], np.float32)
    x.grad_buffer = np.zeros(2, np.float32)
    (x * x).sum().backward()
    y = copied(x)
    assert y.is_leaf and y.requires_grad and y.dtype == np.float32
    assert (y.data is x.data) == (copied is copy.copy)
    (y * 3).sum().backward()
    np.testing.assert_array_equal(y.grad, [5, 7])
    np.testing.assert_array_equal(x.grad, [2, 4])  # and each has its own
    for constant in (Tensor([1, 2]), Tensor(2.0), x.detach() * 2, Tensor(np.zeros((0, 2)))):
        y = copied(constant)
        assert not y.requires_grad and y.grad is None and y.dtype == constant.dtype
        np.testing.assert_array_equal(y.data, constant.data)
    y, again = copied((x, [x]))[0], copied([x, x])
    assert again[0] is again[1] and y.grad.tolist() == [2, 4]


def test_gradients_are_added_to_the_array_that_is_there():
    buffer, x = np.ones(5), leaf([1.0, 2.0])
    x.grad = buffer[1:3]
    (x * x * 3).sum().backward()
    np.testing.assert_array_equal(buffer, [1, 7, 13, 1, 1])
    grad((x * x).sum(), x)
    np.testing.assert_array_equal(buffer, [1, 7, 13, 1, 1])


def test_a_gradient_begins_in_its_buffer():
    buffer, x = np.full(5, np.nan), leaf([1.0, 2.0])
    x.grad_buffer = buffer[1:3]
    (x * x * 3 + x).sum().backward()
    np.testing.assert_array_equal(buffer[1:3], [7, 13])
    assert x.grad is x.grad_buffer and np.isnan(buffer[[0, 3, 4]]).all()
    (x * 2).sum().backward()  # grad is there now: it is added to
    np.testing.assert_array_equal(buffer[1:3], [9, 15])
    x.grad = None
    np.testing.assert_array_equal(grad((x * 2).sum(), x)[0].data, [2, 2])
    np.testing.assert_array_equal(buffer[1:3], [9, 15])
    x.backward([1.0, 0.0])  # a leaf that is the output itself
    np.testing.assert_array_equal(buffer[1:3], [1, 0])
    assert leaf(1.0).grad_buffer is None and (x * 2).grad is None


def test_a_result_can_be_made_a_leaf():
    w = Tensor(np.ones(3)) * 0.5
    w.requires_grad = True
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad, [1, 1, 1])
    assert (leaf(1.0) * 2).grad_buffer is None


def test_a_gradient_can_be_used_and_replaced():
    x = leaf([1.0, 1.0])
    x.grad = np.ones(2)
    y = x + x
    y.backward(x.grad)  # which is added to meanwhile
    np.testing.assert_array_equal(x.grad, [3, 3])
    z = leaf(1.0)
    for first in (np.float64(0.5), [0.5][0], np.array(0.5, np.float32)):
        z.grad = first
        (z * 2 + z).backward()
        assert z.grad == 3.5 and type(z.grad) is np.ndarray and z.grad.dtype == float
    x.grad = np.broadcast_to(1.0, 2)  # cannot be written to
    (x * 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_a_vjp_may_write_a_gradient_where_it_belongs():
    calls = []

    @op
    def sawtooth(x):
        def write(out, add):
            calls.append(add)
            out[...] = out + 5 if add else 5

        return x * 1, (lambda g: GradientWriter(write),)

    x, y = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    sawtooth(x).backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad, [5, 5])
    sawtooth(x).backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad, [10, 10])
    x.grad, x.grad_buffer = None, np.full(2, np.nan)
    sawtooth(x).backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad_buffer, [5, 5])
    assert calls == [False, True, False] and x.grad is x.grad_buffer
    g = np.ones(2)
    z = (y + 0) * 1
    dz, dy = grad(sawtooth(z) + z, [z, y], g)  # after what add hands on, which is another's
    np.testing.assert_array_equal([dz.data, dy.data, g], [[6, 6], [6, 6], [1, 1]])
    (dy,) = grad(sawtooth(y) + sawtooth(y), y, g)
    np.testing.assert_array_equal(dy.data, [10, 10])
    with pytest.raises(TypeError, match="gives a GradientWriter where derivatives"):
        grad(sawtooth(y), y, g, create_graph=True)


def test_what_was_added_up_in_place_was_nobody_elses():
    g, x = np.ones(2), leaf([1.0, 2.0])
    y = x * 1
    z = (y + y) + (y + y) + y * 2  # add hands on the gradient it is given, to both
    dx, dy = grad(z, [x, y], g)
    z = ((x * 1 + x) + x) + x
    z.backward(g)
    assert (dx.data == 6).all() and (dy.data == 6).all() and (x.grad == 4).all() and (g == 1).all()


def test_gradients_of_numbers_stay_arrays():
    x = leaf(2.0)
    for expected in (3, 6):
        (x * 3).backward()
        assert type(x.grad) is np.ndarray and x.grad == expected


def test_gradients_of_intermediates_are_freed():
    refs, alive = [], []

    @op
    def sawtooth(x):
        def vjp(g):
            alive.append(sum(ref() is not None for ref in refs))
            refs.append(weakref.ref(g))
            return g * 2

        return x * 1, (vjp,)

    y = leaf(np.ones(3))
    for _ in range(4):
        y = sawtooth(y)
    y.backward(np.ones(3))
    assert max(alive) <= 1


def test_a_gradient_can_be_differentiated_for_its_cotangent():
    x, v = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (gx,) = grad(x * x, x, v, create_graph=True)
    np.testing.assert_array_equal(gx.data, [6, 16])
    np.testing.assert_array_equal(grad(gx, v, np.ones(2))[0].data, [2, 4])
    (x * 3).backward(v)
    np.testing.assert_array_equal(x.grad, [9, 12])


def test_in_place_steps_of_a_body_are_traced():
    @op
    def sawtooth(x, axis=-1):
        p = x - x.max(axis=axis, keepdims=True)
        p = np.exp(p, out=p)
        p /= p.sum(axis=axis, keepdims=True)

        def vjp(g):
            gx = g * p
            gx -= p * gx.sum(axis=axis, keepdims=True)
            return gx

        return p, (vjp,)

    check_gradients(sawtooth, [[0.1, -1.0, 2.0], [1.0, 0.0, 0.5]], order=3)
    t = leaf([1.0])
    with pytest.raises(TypeError, match="write y ="):
        np.exp(t, out=t)

    @op
    def fails(x):
        if type(x) is Tensor:
            raise RuntimeError("on Tensors")
        return x * 1, (lambda g: g,)

    with pytest.raises(RuntimeError, match="on Tensors"):
        grad(fails(t), t, np.ones(1), create_graph=True)
    with pytest.raises(TypeError, match="write y ="):
        np.exp(t, out=t)


def test_leaf_itself():
    x = leaf([[1.0]])
    x.backward()
    np.testing.assert_array_equal(x.grad, [[1.0]])
    (g,) = grad(x, x)
    np.testing.assert_array_equal(g.data, [[1.0]])


def test_views_of_views():
    x = leaf(np.arange(24.0).reshape(2, 3, 4))
    check_gradients(lambda x: x[0].T[1:][::-1].reshape(-1)[::2] * 2, x)
    y = x[1][2][3]
    y.backward()
    assert x.grad.sum() == 1 and x.grad[1, 2, 3] == 1


# ---------------------------------------------------------------- once only


@pytest.mark.parametrize("again", ["same", "shared"])
def test_a_second_backward_is_refused(again):
    x = leaf(2.0)
    y = x * x
    z = y * 3
    z.backward()
    with pytest.raises(ValueError, match=r"used already \(at multiply\).*create_graph=True"):
        (z if again == "same" else y + 1).backward()
    assert x.grad == 12


def test_create_graph_keeps_the_graph():
    x = leaf(2.0)
    y = x**3
    for _ in range(2):
        assert grad(y, x, create_graph=True)[0].data == 12
    y.backward()
    assert x.grad == 12


def test_grad_of_grad_of_grad():
    x = leaf(2.0)
    y = x**4
    for expected in (32, 48, 48, 24):
        (y,) = grad(y, x, create_graph=True)
        assert y.item() == expected


def test_gradients_are_what_vjps_expect():
    """Arrays in backward and Tensors with create_graph, whatever the vjp before returned."""
    seen = []

    @op
    def sawtooth(x):
        return x * 1, (lambda g: seen.append(type(g)) or g,)

    @op
    def number(x):
        return x * 2, (lambda g: 2.0,)

    x = leaf(1.0)
    number(sawtooth(x)).backward()
    assert x.grad == 2 and seen == [np.ndarray]
    (g,) = grad(number(sawtooth(x)), x, create_graph=True)
    assert type(g) is Tensor and seen[1:] == [Tensor]
    y = sawtooth(x)
    (y * 2 + y * 3 + (y * np.ones(3)).sum()).backward()
    assert seen[2:] == [np.ndarray]
    sawtooth(x * 1).backward()
    (sawtooth(x) * np.ones(3)).backward(np.ones(3))
    assert seen[3:] == [np.ndarray] * 2
    unused = leaf(3.0)
    for create_graph in (False, True):
        g, zero = grad(x * 2, (t for t in (x, unused)), create_graph=create_graph)
        assert type(zero) is Tensor and zero.item() == 0 and g.item() == 2


def test_gradients_for_some_of_many_arguments():
    @op
    def sawtooth(*xs):
        return xs[0] * xs[1], (lambda g: g * xs[1], lambda g: g * xs[0])

    x = leaf(2.0)
    sawtooth(x, Tensor(3.0), Tensor(4.0)).backward()
    assert x.grad == 3


def test_grad_leaves_leaves_alone_and_reaches_inside():
    x, unused = leaf(3.0), leaf([1.0, 2.0])
    y = x * x
    z = y * x
    dx, dy, du = grad(z, [x, y, unused])
    assert (dx.item(), dy.item(), x.grad) == (27, 3, None)
    np.testing.assert_array_equal(du.data, [0, 0])
    assert not dx.requires_grad


def test_gradients_do_not_alias():
    x, y, g = leaf([1.0, 2.0]), leaf([3.0, 4.0]), np.ones(2)
    for gx, gy in (
        [t.data for t in grad(x + y, [x, y], g)],
        ((x + y).backward(g), [x.grad, y.grad])[1],
    ):
        assert not np.shares_memory(gx, gy)
        assert not np.shares_memory(gx, g)


def test_an_exception_in_a_vjp_leaves_gradients_as_they_were():
    @op
    def sawtooth(x):
        def vjp(g):
            raise RuntimeError("no derivative")

        return x * 1, (vjp,)

    x, y = leaf(1.0), leaf(2.0)
    z = y * 5 + sawtooth(x) * y
    with pytest.raises(RuntimeError, match="no derivative"):
        z.backward()
    assert x.grad is None and y.grad is None
    (y * 2).backward()  # the engine itself is not left in a strange state
    assert y.grad == 2


# ---------------------------------------------------------------- memory


def test_memory_falls_during_backward():
    alive = []

    @op
    def sawtooth(x):
        saved = np.ones(10)
        ref = weakref.ref(saved)

        def vjp(g):
            alive.append(sum(r() is not None for r in refs))
            return g * saved[0]

        refs.append(ref)
        return x * 1, (vjp,)

    refs = []
    y = leaf(1.0)
    for _ in range(5):
        y = sawtooth(y)
    y.backward()
    assert alive == [5, 4, 3, 2, 1]
    assert all(r() is None for r in refs)


def test_no_garbage_without_the_collector():
    def step(create_graph):
        w = leaf(np.ones((3, 3)))
        y = ag.softmax(w @ w.T + w[[0, 0, 1]])
        ref = weakref.ref(y)
        loss = (y * ag.layer_norm(w, w[0], w[1])).sum()
        if create_graph:
            (g,) = grad(loss, w, create_graph=True)
            (g * g).sum().backward()
        else:
            loss.backward()
        return ref

    gc.collect()
    gc.disable()
    try:
        assert step(False)() is None
        assert step(True)() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_intermediates_are_freed_by_backward():
    x = leaf(np.ones(3))
    y = np.exp(x)
    ref = weakref.ref(y)
    z = (y * 2).sum()
    del y
    assert ref() is not None
    z.backward()
    assert ref() is None


def test_tensors_have_no_dict():
    with pytest.raises(AttributeError):
        leaf(1.0).name = "x"


# ---------------------------------------------------------------- modes


def test_no_grad_records_nothing():
    x = leaf(2.0)
    with no_grad():
        y = x * x
        with no_grad():
            pass
        z = x * 3
    assert not y.requires_grad and not z.requires_grad
    assert (x * x).requires_grad

    @no_grad()
    def f(x):
        return x * x

    assert not f(x).requires_grad
    with pytest.raises(RuntimeError), no_grad():
        raise RuntimeError
    assert (x * x).requires_grad


def test_no_grad_and_graphs_belong_to_their_thread():
    x, seen, ready, done = leaf(2.0), [], threading.Event(), threading.Event()

    def other():
        with no_grad():
            ready.set()
            done.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait(10)
    y = x * x
    done.set()
    thread.join()
    assert y.requires_grad

    def work(k):
        w = leaf(float(k))
        for _ in range(200):
            w.grad = None
            (g,) = grad(w * w * w, w, create_graph=True)
            g.backward()
            seen.append(w.grad.item() == 6 * k)

    threads = [threading.Thread(target=work, args=(k,)) for k in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 400 and all(seen)


def test_detach_shares_the_array():
    x = leaf([1.0, 2.0])
    d = x.detach()
    assert d.data is x.data and not d.requires_grad
    y = (x * x.detach()).sum()
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, 2])


# ---------------------------------------------------------------- dtypes


@pytest.mark.parametrize(
    "scalar",
    [2, 2.5, np.int64(2), np.float64(2.5), np.float32(2.5), np.array(2.5), np.array(2), True],
    ids=repr,
)
@pytest.mark.parametrize("name", "add subtract multiply divide power maximum minimum".split())
def test_numbers_do_not_change_the_dtype(name, scalar):
    function = getattr(ag, name)
    for arguments in (lambda x: (x, scalar), lambda x: (scalar, x)):
        x = Tensor(np.array([0.5, 1.5], np.float32), requires_grad=True)
        y = function(*arguments(x))
        assert y.dtype == np.float32
        (g,) = grad(y, x, np.ones(2), create_graph=True)
        assert g.dtype == np.float32
        y.backward(np.ones(2))
        assert x.grad.dtype == np.float32


def test_mixed_precision_gradients_come_back_in_their_own():
    x, y = leaf([1.0, 2.0], np.float32), leaf([3.0, 4.0])
    z = x * y
    assert z.dtype == np.float64
    (gx, gy) = grad(z, [x, y], np.ones(2), create_graph=True)
    assert (gx.dtype, gy.dtype) == (np.float32, np.float64)
    (ggx,) = grad(gy, x, np.ones(2))
    assert ggx.dtype == np.float32
    z.backward(np.ones(2))
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)


def test_the_incoming_gradient_takes_the_dtype_of_the_output():
    x = leaf([1.0, 2.0], np.float32)
    x.backward(np.ones(2))
    assert x.grad.dtype == np.float32
    seen = []

    @op
    def sawtooth(x):
        return x * 1, (lambda g: seen.append(g.dtype) or g,)

    sawtooth(x).backward(np.ones(2))
    assert seen == [np.float32]


def test_astype_of_the_same_dtype():
    x = leaf([1.0, 2.0], np.float32)
    x.astype(np.float32).sum().backward()
    assert x.grad.dtype == np.float32


def test_the_first_op_comes_after_all_leaves(monkeypatch):
    monkeypatch.setattr(engine, "_numbers", itertools.count(1))
    x = leaf(2.0)
    (x * 3).backward()
    assert x.grad == 3


def test_float16_stays():
    x = leaf([1.0, 2.0], np.float16)
    y = ag.softmax(x * 2).sum()
    y.backward()
    assert (y.dtype, x.grad.dtype) == (np.float16, np.float16)


# ---------------------------------------------------------------- NumPy's functions


def check_recorded(pairs):
    for made, value in pairs:
        assert type(made) is Tensor and made.requires_grad
        np.testing.assert_allclose(made.data, value)


def test_numpy_functions_record():
    t, u, c = leaf([1.0, 2.0]), leaf([3.0, 4.0]), np.array([True, False])
    array = np.array([5.0, 6.0])
    check_recorded([
        (np.exp(t), np.exp(t.data)),
        (np.concatenate([t, u]), [1, 2, 3, 4]),
        (np.concatenate([array, t]), [5, 6, 1, 2]),
        (np.stack([t, u], axis=1), [[1, 3], [2, 4]]),
        (np.where(c, t, u), [1, 4]),
        (np.abs(-t), [1, 2]),
        (np.sum(t), 3),
        (np.amax(t, axis=0), 2),
        (np.max(t), 2),
        (np.min(t), 1),
        (np.linalg.norm(u), 5),
        (np.split(t, 2)[1], [2]),
        (np.clip(t, 0, 1.5), [1, 1.5]),
        (np.clip(t, a_min=1.5, a_max=None), [1.5, 2]),
        (np.reshape(t, (2, 1)), [[1], [2]]),
        (np.take_along_axis(t, np.array([1]), 0), [2]),
        (np.transpose(t), [1, 2]),
    ])  # fmt: skip


def test_operators_and_methods_record():
    t, array, c = leaf([1.0, 2.0]), np.array([5.0, 6.0]), np.array([True, False])
    check_recorded([
        (2 * t, [2, 4]),
        (2 - t, [1, 0]),
        (2 / t, [2, 1]),
        (2**t, [2, 4]),
        (array @ t, 17),
        (array * t, [5, 12]),
        (array - t, [4, 4]),
        (np.float64(2) * t, [2, 4]),
        (t[c], [1]),
        (t[Tensor([1, 0])], [2, 1]),
        (t[(Tensor([1, 0]),)], [2, 1]),
        (abs(-t), [1, 2]),
        (ag.split([1.0, 2.0], 2)[1] * t[1:], [4]),
        (t.clip(max=1.5), [1, 1.5]),
        (t.clip(min=1.5), [1.5, 2]),
        ([[1.0, 2.0], [3.0, 4.0]] @ t, [5, 11]),
        (t @ [3.0, 4.0], 11),
        (t.reshape(2, 1).T, [[1, 2]]),
        (t.reshape((1, 2)).transpose(1, 0), [[1], [2]]),
        (t.reshape(1, 2).transpose((1, 0)), [[1], [2]]),
        (t.reshape(1, 2).transpose(), [[1], [2]]),
    ])  # fmt: skip


def test_methods_are_the_ops():
    other = {"add", "subtract", "multiply", "divide", "negative", "getitem", "scatter", "where",
             "concatenate", "stack", "reshape", "transpose", "check_gradients", "detect_anomaly",
             "to_dot", "grad", "no_grad", "op",
             "GradientWriter", "Tensor", "implements", "in_float32", "in_this_mode",
             }  # operators, or not of one tensor  # fmt: skip
    for name in {*ag.__all__, "abs", "max", "min", "sum"} - other:
        assert getattr(Tensor, name) is getattr(ag, name), name


def test_numpys_order_of_arguments():
    t = leaf([[1.0, 2.0], [3.0, 5.0]])
    for made, value in [
        (np.sum(t, 0, None, None, True), [[4, 7]]),
        (np.sum(a=t, axis=0), [4, 7]),
        (np.mean(t, 0, None), [2, 3.5]),
        (np.var(t, 0, None, None, 1), [2, 4.5]),
        (np.max(t, 0, None, True), [[3, 5]]),
        (np.reshape(t, (4,), order="C"), [1, 2, 3, 5]),
        (np.pad(t[0], 1, constant_values=7.0), [7, 1, 2, 7]),
        (np.take(t, (1,)), [2]),
        (np.take(t, [True, False], 0), [[3, 5], [1, 2]]),
        (np.concatenate([[0.0], t[0]]), [0, 1, 2]),
        (np.concatenate((t[0], [0.0]), 0), [1, 2, 0]),
        (t @ [1.0, 2.0], [5, 13]),
        (t ** [2.0, 1.0], [[1, 2], [9, 5]]),
        (np.clip(t[0], a_min=np.float64(1.5), a_max=None), [1.5, 2]),
    ]:
        assert made.requires_grad
        np.testing.assert_allclose(made.data, value)
        (g,) = grad(made, t, np.ones(made.shape), create_graph=True)
        assert g.shape == t.shape
    assert np.argmax(a=t) == 3 and np.allclose(t.data, b=t)
    with pytest.raises(TypeError, match="dtype"):
        np.add(t, t, dtype=np.float32)
    single = Tensor(np.ones(2, np.float32), requires_grad=True)
    assert np.clip(single, a_min=np.float64(0), a_max=None).dtype == np.float32
    assert ag.layer_norm(single, eps=np.float64(1e-5)).dtype == np.float32


def test_numbers_reduce_over_their_only_axis():
    for name in ("sum", "max", "prod"):
        x = leaf(2.0)
        getattr(ag, name)(x, axis=0).backward()
        assert x.grad.shape == () and np.isfinite(x.grad)


def test_an_index_of_nothing_picks_nothing():
    w = leaf(np.ones((3, 2)))
    for pick in (lambda w: w[[]], lambda w: ag.take(w, [], 0), lambda w: F.embedding(w, [])):
        y = pick(w)
        assert y.shape == (0, 2)
        for create_graph in (True, False):
            assert not grad(y, w, np.zeros((0, 2)), create_graph=create_graph)[0].data.any()


def test_ids_of_one_byte():
    for dtype in (np.uint8, np.int8, np.uint16, np.int64):
        w = leaf(np.zeros((300, 2)))
        w[np.array([1, 2, 1], dtype)].sum().backward()
        assert w.grad[1:3].tolist() == [[2, 2], [1, 1]]


def test_targets_and_masks_may_be_tensors():
    x = leaf(np.eye(2))
    for y in (F.cross_entropy(x, Tensor([0, 1])),
              F.attention(x, x, x, mask=Tensor(np.eye(2) > 0), causal=True).sum()):  # fmt: skip
        (g,) = grad(y, x, create_graph=True)
        np.testing.assert_allclose(g.data, grad(y, x)[0].data)


def test_create_graph_under_no_grad():
    x = leaf(2.0)
    y = x**3
    with no_grad():
        (g,) = grad(y, x, create_graph=True)
    assert g.requires_grad and grad(g, x)[0].item() == 12
    with no_grad():
        assert not (x * 2).requires_grad


def test_transpose_takes_axes_as_numpy_does():
    t = leaf(np.arange(24.0).reshape(2, 3, 4))
    for made in (t.transpose(2, 0, 1), t.transpose((2, 0, 1)), np.transpose(t, [2, 0, 1])):
        np.testing.assert_array_equal(made.data, t.data.transpose(2, 0, 1))
    np.testing.assert_array_equal(t.T.data, t.data.T)
    assert Tensor([1, 2]).astype(np.int32).dtype == np.int32


def test_constant_functions_give_plain_arrays():
    t = leaf([1.0, -2.0])
    for made in (t > 0, t >= 0, t < 0, t <= 0, t == 1, t != 1, t > 0, np.sign(t), np.floor(t),
                 np.isfinite(t), np.zeros_like(t), np.argmax(t), np.greater(t, t)):  # fmt: skip
        assert isinstance(made, (np.ndarray, np.generic))
    t = leaf([1.0, 2.0, 3.0])
    for other in (2.0, [2.0] * 3, np.full(3, 2.0), Tensor(2.0), leaf(2.0)):
        for made, expected in [
            (t < other, "100"),
            (t <= other, "110"),
            (t > other, "001"),
            (t >= other, "011"),
            (t == other, "010"),
            (t != other, "101"),
        ]:
            assert isinstance(made, np.ndarray) and made.dtype == bool
            assert "".join(str(int(b)) for b in made) == expected
    np.testing.assert_array_equal(np.array([0.0, 2.0, 4.0]) < t, [True, False, False])
    assert bool(Tensor([[1.0]])) is True and bool(Tensor(0.0)) is False
    t = leaf([1.0, -2.0])
    assert np.shape(t) == (2,) and np.ndim(t) == 1 and np.size(t) == 2 and len(t) == 2
    assert np.allclose(t, [1, -2])


def test_a_users_op_gets_its_numpy_function(registry):
    assert "nextafter" not in engine.registry

    @op
    def nextafter(x, y):
        return np.nextafter(x, y), (lambda g: g,)

    check_gradients(lambda x: np.nextafter(x, 1.0), [0.3, 6.0])


def test_an_op_body_may_use_other_ops():
    @op
    def sawtooth(x):
        s = ag.sigmoid(x)
        return x * s, (lambda g: g * (s + x * s * (1 - s)),)

    check_gradients(sawtooth, [0.3, -1.0])
    assert sawtooth(leaf([1.0], np.float32)).dtype == np.float32


def test_ops_take_numbers_lists_and_keywords():
    assert ag.exp(0.0).item() == 1 and ag.sigmoid(0.0).item() == 0.5
    np.testing.assert_allclose(ag.softmax([0.0, 0.0], -1).data, [0.5, 0.5])
    assert ag.sum(2.0).item() == 2 and ag.sum([1.0, 2.0], 0).item() == 3
    np.testing.assert_array_equal(ag.multiply([1, 2], 2).data, [2, 4])
    np.testing.assert_allclose(ag.clip(x=leaf([1.0, 2.0]), min=1.5).data, [1.5, 2])
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        ag.exp()
    np.testing.assert_allclose(ag.softmax([0.0, 0.0]).data, [0.5, 0.5])
    assert ag.maximum(0, np.ones(2, np.float32)).dtype == np.float32
    x, w = leaf([[1.0, 2.0]]), leaf([1.0, 3.0])
    ag.layer_norm(x=x, bias=w, eps=1e-3).backward(np.ones((1, 2)))
    np.testing.assert_array_equal(w.grad, [1, 1])
    assert type(Tensor([1, 2]) + Tensor([3, 4])) is Tensor


def test_integer_tensors_are_constants():
    ids = Tensor([0, 1, 1])
    assert ids.dtype == np.int64 and not (ids + 1).requires_grad
    w = leaf([1.0, 2.0])
    w[ids].backward(np.ones(3))
    np.testing.assert_array_equal(w.grad, [1, 2])


def test_constants_convert_to_arrays():
    t = Tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(t), t.data)
    assert np.asarray(t, np.float32).dtype == np.float32
    assert not np.shares_memory(np.array(t), t.data)


def test_repr_and_item():
    assert repr(leaf([1.0, 2.0])) == "Tensor([1., 2.], requires_grad=True)"
    assert repr(leaf(1.5, np.float32)) == "Tensor(1.5, dtype=float32, requires_grad=True)"
    assert repr(Tensor([[1.0], [2.0]])) == "Tensor([[1.],\n        [2.]])"
    assert repr(Tensor([1, 2])) == "Tensor([1, 2])" and repr(Tensor(True)) == "Tensor(True)"
    assert repr(Tensor(np.int8([1]))) == "Tensor([1], dtype=int8)"
    assert repr(Tensor(np.pi)) == "Tensor(3.14159265)"
    assert repr(Tensor(np.zeros(1000))).endswith("0., 0., 0.])")
    long = leaf(np.arange(1001), np.float32)
    shown = "Tensor([   0.,    1.,    2., ...,  998.,  999., 1000.], shape=(1001,), dtype=float32"
    assert repr(long) == f"{shown}, requires_grad=True)"
    with np.printoptions(threshold=3):
        assert repr(Tensor([1.0] * 3)) == "Tensor([1., 1., 1.])"
        assert repr(Tensor(np.ones((4, 2)))).endswith("1.]], shape=(4, 2))")
    huge = np.broadcast_to(1.0, (10**6, 10**6))  # a terabyte, if every entry were looked at
    assert repr(Tensor(huge)).endswith("shape=(1000000, 1000000))")
    assert Tensor(2.5).item() == 2.5 and f"{leaf(2.5):.2f} {Tensor(1.0)}".startswith("2.50 Tensor")
    assert [row.item() for row in Tensor([1, 2])] == [1, 2]


def test_in_place_operators_make_new_tensors():
    x = leaf([1.0, 2.0])
    y = x
    y += 1
    y *= 2
    assert y is not x
    np.testing.assert_array_equal(x.data, [1, 2])
    y.backward(np.ones(2))
    np.testing.assert_array_equal(x.grad, [2, 2])
