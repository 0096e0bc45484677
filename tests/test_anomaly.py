"""detect_anomaly names the op and the line."""

import os

import numpy as np
import pytest

import autograd as ag
import tinygpt
from autograd import Tensor, anomaly, detect_anomaly, grad, no_grad, op
from autograd import tensor as engine
from nn import functional as F


def leaf(*values):
    return Tensor(list(values), requires_grad=True)


def quiet(fn):
    with np.errstate(all="ignore"):
        return fn()


def test_nan_in_forward():
    x = leaf(1.0, -1.0)
    with pytest.raises(FloatingPointError) as caught, detect_anomaly():
        y = x * 2
        quiet(lambda: np.log(y))  # the culprit
    text = str(caught.value)
    assert text.startswith("log made nan at [1] of finite arguments; it was called in ")
    assert "test_anomaly.py, line " in text and "# the culprit" in text


def test_inf_in_forward():
    with pytest.raises(FloatingPointError, match=r"exp made inf at \[\]"), detect_anomaly():
        quiet(lambda: ag.exp(Tensor(1e9, requires_grad=True)))


def test_the_first_of_several():
    x = Tensor([[1.0, 2.0], [-1.0, -2.0]], requires_grad=True)
    with pytest.raises(FloatingPointError, match=r"log made nan at \[1, 0\] "), detect_anomaly():
        quiet(lambda: np.log(x))


def test_code_without_a_file():
    """Typed in, or made by exec: there is no line to show."""
    with pytest.raises(FloatingPointError, match=r"called in <typed>, line 1$"), detect_anomaly():
        code = compile("x / 0", "<typed>", "exec")
        quiet(lambda: exec(code, {"x": leaf(1.0)}))


def test_an_argument_that_is_no_number(registry):
    @op
    def apply(x, name):
        return getattr(np, name)(x), (lambda g: g / x,)

    message = "apply made nan at .* of finite arguments"
    with pytest.raises(FloatingPointError, match=message), detect_anomaly():
        quiet(lambda: apply(leaf(-1.0), "log"))


def test_nan_that_came_in():
    x = Tensor([1.0, np.nan], requires_grad=True)
    already = pytest.raises(FloatingPointError, match=r"argument 0, which has nan at \[1\] already")
    with already, detect_anomaly():
        _ = x * 2.0
    already = pytest.raises(FloatingPointError, match="argument 1, which has inf at")
    with already, detect_anomaly():
        _ = leaf(1.0) * float("inf")


def test_nan_in_backward():
    x = leaf(0.0, 4.0)
    with pytest.raises(FloatingPointError) as caught, detect_anomaly():
        y = ag.where(x > 0, x.sqrt(), 0)  # leaks
        quiet(lambda: (y * 3).sum().backward())
    text = str(caught.value)
    assert text.startswith("the gradient of sqrt for argument 0 has nan at [0], first in this")
    assert "test_anomaly.py, line " in text and "# leaks" in text
    assert x.grad is None


def test_nan_in_a_gradient_of_a_gradient():
    x, message = leaf(0.0), r"the gradient of \w+ for argument \d has inf at \[0\], first in"
    with pytest.raises(FloatingPointError, match=message), detect_anomaly():
        quiet(lambda: grad(x**1.5, x, np.ones(1), create_graph=True)[0].sum().backward())


@pytest.mark.parametrize("which", ["argument 0", "argument 1", "the value"])
def test_changes_in_place(which):
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with detect_anomaly():
        y = x * w
        z = np.exp(y * 1.0)
        changed = {"argument 0": x, "argument 1": w, "the value": y}[which]
        changed.data[0] = 9.0
        with pytest.raises(ValueError) as caught:
            z.backward(np.ones(2))
    text = str(caught.value)
    expected = "argument 0 of multiply" if which == "the value" else f"{which} of multiply"
    assert text.startswith(f"{expected} was changed in place between forward and backward")
    line = "z = np.exp" if which == "the value" else "y = x * w"
    assert line in text and "test_anomaly.py, line" in text and x.grad is None


def test_a_value_changed_that_nobody_used_as_an_argument():
    with detect_anomaly():
        y = np.exp(leaf(1.0))
        y.data[0] = 5
        with pytest.raises(ValueError, match="the value of exp was changed"):
            y.backward(np.ones(1))


def test_options_and_indices_are_watched():
    low, index = np.array([0.0, 0.0]), np.array([0, 1])
    for made, array in [
        (lambda: ag.clip(leaf(1.0, 2.0), min=low), low),
        (lambda: leaf(1.0, 2.0)[index, None], index),
    ]:
        with detect_anomaly():
            y = made()
            array[:] = 0
            array[0] = 1
            with pytest.raises(ValueError, match="was changed in place"):
                y.backward(np.ones(y.shape))


def test_options_that_stay_the_same_pass():
    x = leaf(1.0, 2.0)
    with detect_anomaly():
        x[np.array([0, 1]), None].sum().backward()
        ag.expand_dims(x, (0, 2)).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_masks_inside_of_an_op_are_no_anomaly():
    x = Tensor(np.ones((3, 2)), requires_grad=True)
    with detect_anomaly():
        y = F.attention(x, x, x, causal=True)
        (g,) = grad(y, x, np.ones((3, 2)), create_graph=True)
        g.sum().backward()
    assert np.isfinite(x.grad).all()


def test_gradients_of_gradients_are_watched():
    x = leaf(1.0)
    with detect_anomaly():
        (g,) = grad(x**3, x, np.ones(1), create_graph=True)
        x.data[0] = 5
        with pytest.raises(ValueError, match="was changed in place"):
            g.backward(np.ones(1))


def test_nested_and_under_no_grad():
    x = leaf(1.0)
    with detect_anomaly():
        with detect_anomaly():
            y = x * x
        y.data[0] = 9
        with pytest.raises(ValueError, match="changed in place"):
            y.backward(np.ones(1))
    with no_grad(), detect_anomaly():
        assert not (x * x).requires_grad


def test_files_beside_the_packages_are_user_code():
    assert all(folder.endswith(os.sep) for folder in anomaly._LIBRARIES)


def test_an_array_constant_changed():
    c = np.ones(2)
    with detect_anomaly():
        y = leaf(1.0, 2.0) * c
        c += 1
        with pytest.raises(ValueError, match="argument 1 of multiply was changed"):
            y.backward(np.ones(2))


def test_sound_programs_pass_and_give_the_same():
    ids = np.array([[1, 2, 3, 4]])
    config = tinygpt.GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=2, n_embd=4)
    results = []
    for watch in (False, True):
        model = tinygpt.TinyGPT(config, np.random.default_rng(0))
        if watch:
            with detect_anomaly():
                model.loss(ids, ids).backward()
                with no_grad():
                    model(ids)
        else:
            model.loss(ids, ids).backward()
        results.append([p.grad for p in model.parameters()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_graphs_made_outside_are_checked_too():
    x = leaf(0.0)
    y = x.sqrt()
    caught = pytest.raises(FloatingPointError, match="called in code outside of detect_anomaly")
    with caught, detect_anomaly():
        quiet(lambda: y.backward(np.ones(1)))


def test_it_ends_with_the_block():
    mode = engine.mode
    assert mode.recording is True and mode.watch is None
    with detect_anomaly():
        watch = mode.watch
        assert mode.recording is True and watch is not None
        with no_grad():
            assert mode.recording is False and mode.watch is None
            with detect_anomaly():
                assert mode.watch is None
        assert mode.recording is True and mode.watch is watch
        with detect_anomaly():
            assert mode.watch is watch
    assert mode.recording is True and mode.watch is None
    quiet(lambda: np.log(leaf(-1.0)))
    with pytest.raises(RuntimeError), detect_anomaly():
        raise RuntimeError
    assert mode.watch is None
