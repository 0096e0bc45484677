"""Modules, layers, optimizers; the ops they are made of are in test_ops.py."""

import copy
import functools
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

import nn
from autograd import Tensor, check_gradients, grad, layer_norm
from nn import functional as F

RNG = np.random.default_rng


class Pair(nn.Module):
    def __init__(self, rng, tied=False):
        self.first = nn.Linear(3, 3, rng)
        self.rest = [nn.Linear(3, 3, rng, bias=False), (nn.LayerNorm(3),)]
        self.size, self.frozen = 3, Tensor(np.ones(2, np.float32))
        if tied:
            self.again = self.first.weight

    def __call__(self, x):
        return self.rest[1][0](self.rest[0](self.first(x)))


def in_float64(layer):
    return layer.to(np.float64)


def check_layer(layer, shape):
    """Check the gradients of a layer for its input and for all its parameters."""
    parameters = in_float64(layer).parameters()
    ids = [id(p) for p in parameters]
    places = [
        (vars(module), name, ids.index(id(value)))
        for module in layer.modules()
        for name, value in vars(module).items()
        if type(value) is Tensor
    ]

    def fn(x, *tensors):
        for attributes, name, i in places:
            attributes[name] = tensors[i]
        return layer(x)

    x = RNG(1).standard_normal(shape)
    check_gradients(fn, x, *(p.data for p in parameters), entries=3)


# ---------------------------------------------------------------- Module


def test_names_are_paths():
    names = [name for name, _ in Pair(RNG(0)).named_parameters()]
    assert names == ["first.weight", "first.bias", "rest.0.weight", "rest.1.0.weight",
                     "rest.1.0.bias", "frozen"]  # fmt: skip


def test_a_tied_tensor_counts_once():
    model = Pair(RNG(0), tied=True)
    assert len(model.parameters()) == 6
    state = {name: 0 * array for name, array in model.state_dict().items()}
    model.load_state_dict(state)
    assert model.again is model.first.weight and not model.again.data.any()


def test_dicts_cycles_and_kept_results():
    model = Pair(RNG(0))
    model.heads = {"a": nn.Linear(2, 2, RNG(0))}
    model.first.parent = model
    model.last = model(Tensor(np.ones((1, 3), np.float32)))
    names = [name for name, _ in model.named_parameters()]
    assert names[-2:] == ["heads.a.weight", "heads.a.bias"] and len(names) == 8
    assert len(model.modules()) == 5
    with pytest.raises(TypeError, match="floating-point"):
        model.to(int)


def test_a_load_that_fails_changes_nothing():
    model = Pair(RNG(0))
    before = {name: array.copy() for name, array in model.state_dict().items()}
    state = {name: array + 1 for name, array in before.items()} | {"frozen": np.array(["a", "b"])}
    with pytest.raises(ValueError, match="could not convert"):
        model.load_state_dict(state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_load_names_every_problem():
    model = Pair(RNG(0))
    state = {name: array + 1 for name, array in model.state_dict().items()}
    before = model.first.weight.data.copy()
    state["extra"] = state.pop("first.bias")
    state["rest.1.0.bias"] = np.zeros(5)
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    for part in ("missing: first.bias (3,)", "unexpected: extra",
                 "rest.1.0.bias has shape (5,), the model needs (3,)"):  # fmt: skip
        assert part in str(caught.value)
    np.testing.assert_array_equal(model.first.weight.data, before)


def test_load_keeps_dtype_and_arrays():
    model = Pair(RNG(0))
    array = model.first.weight.data
    model.load_state_dict({n: a.astype(float) + 1 for n, a in model.state_dict().items()})
    assert model.first.weight.data is array and array.dtype == np.float32


def test_train_and_eval_reach_all_modules():
    model = Pair(RNG(0))
    assert model.eval() is model and not model.rest[1][0].training and not model.training
    assert model.train() is model and model.rest[0].training
    assert len(model.modules()) == 4


def test_to_another_dtype():
    model = Pair(RNG(0))
    model.first.weight.grad = np.ones(3)
    model.to(np.float64)
    assert {p.dtype for p in model.parameters()} == {np.dtype(float)}
    assert model.first.weight.grad is None and model(Tensor(np.ones((2, 3)))).dtype == float
    nn.optim.flatten(model.parameters())
    model.to(np.float32)(Tensor(np.ones((2, 3), np.float32))).sum().backward()
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {np.dtype("f4")}


# ---------------------------------------------------------------- printing


def test_a_model_prints_its_layers():
    model = Pair(RNG(0), tied=True)
    model.parent = model
    model.names = {"a": 1}
    assert repr(model) == """\
Pair(
  first: Linear(3 -> 3, bias)
  rest: [
    (0): Linear(3 -> 3)
    (1): [
      (0): LayerNorm(3, bias)
    ]
  ]
  frozen: Tensor(2)
  again: Tensor(3, 3)
)
29 parameters"""
    model.rest = [nn.Block(4, 2, 8, RNG(0), bias=False, dropout=0.5) for _ in range(3)]
    assert """\
    (0-2): 3 x Block(
      norm1: LayerNorm(4)
      attention: MultiHeadAttention(
        qkv: Linear(4 -> 12)
        projection: Linear(4 -> 4)
        dropout: Dropout(p=0.5)
      )
""" in repr(model)
    model.rest[1].norm1 = nn.LayerNorm(4)
    assert [line for line in repr(model).splitlines() if line.startswith("    (")] == [
        "    (0): Block(", "    (1): Block(", "    (2): Block(",
    ]  # fmt: skip


def test_printing_computes_nothing(monkeypatch):
    model = Pair(None)
    monkeypatch.setattr(np, "array2string", None)
    for p in model.parameters():
        p.data = np.broadcast_to(np.float32(0), (10**6, *p.shape))  # no memory is there
    assert repr(model).endswith("\n29,000,000 parameters")
    assert repr(nn.Module()) == "Module()\n0 parameters"


# ---------------------------------------------------------------- layers


def test_parameters_are_float32_and_from_the_generator():
    a, b = nn.Linear(400, 300, RNG(3)), nn.Linear(400, 300, RNG(3))
    np.testing.assert_array_equal(a.weight.data, b.weight.data)
    assert all(p.dtype == np.float32 and p.requires_grad for p in a.parameters())
    assert a.weight.shape == (400, 300) and not a.bias.data.any()
    assert a.weight.data.std() == pytest.approx(1 / 20, rel=0.02)
    assert nn.Embedding(400, 300, RNG(3)).weight.data.std() == pytest.approx(0.02, rel=0.02)
    assert nn.LayerNorm(4, bias=False).bias is None
    assert nn.Linear(2, 2, RNG(0), bias=False).bias is None


@pytest.mark.parametrize("causal", [True, False])
def test_attention_gradients(causal):
    check_layer(nn.MultiHeadAttention(4, 2, RNG(0), causal=causal), (2, 3, 4))


@pytest.mark.parametrize("activation", ["gelu", "gelu_erf", "relu", "silu", "tanh"])
def test_feed_forward_gradients(activation):
    check_layer(nn.FeedForward(3, 5, RNG(0), activation=activation), (2, 3))


@pytest.mark.parametrize("norm_first", [True, False])
def test_block_gradients(norm_first):
    check_layer(nn.Block(4, 2, 5, RNG(0), norm_first=norm_first), (2, 3, 4))


def test_block_is_what_it_says():
    x = Tensor(RNG(1).standard_normal((3, 4)))
    for norm_first in (True, False):
        b = in_float64(nn.Block(4, 2, 5, RNG(0), norm_first=norm_first))
        if norm_first:
            h = x + b.attention(b.norm1(x))
            expected = h + b.feed_forward(b.norm2(h))
        else:
            h = b.norm1(x + b.attention(x))
            expected = b.norm2(h + b.feed_forward(h))
        np.testing.assert_array_equal(b(x).data, expected.data)


def test_heads_are_real():
    """Each head attends by its own slice of channels: computed here one by one."""
    layer = in_float64(nn.MultiHeadAttention(6, 3, RNG(0)))
    x = RNG(1).standard_normal((4, 6))
    qkv = x @ layer.qkv.weight.data + layer.qkv.bias.data
    heads = []
    for h in range(3):
        q, k, v = (qkv[:, 6 * part + 2 * h : 6 * part + 2 * h + 2] for part in range(3))
        scores = np.where(np.tri(4) > 0, q @ k.T / math.sqrt(2), -np.inf)
        p = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        heads.append(p @ v)
    expected = np.concatenate(heads, axis=-1) @ layer.projection.weight.data
    np.testing.assert_allclose(layer(Tensor(x)).data, expected + layer.projection.bias.data)


def test_causal_attention_does_not_see_the_future():
    layer = in_float64(nn.MultiHeadAttention(4, 2, RNG(0)))
    x = RNG(1).standard_normal((1, 5, 4))
    changed = x.copy()
    changed[:, 3:] += 1
    np.testing.assert_array_equal(layer(Tensor(x)).data[:, :3], layer(Tensor(changed)).data[:, :3])
    assert (layer(Tensor(x)).data[:, 3:] != layer(Tensor(changed)).data[:, 3:]).all()


def test_a_padding_mask_and_the_batch():
    layer = in_float64(nn.MultiHeadAttention(4, 2, RNG(0), causal=False))
    x = RNG(1).standard_normal((2, 3, 4))
    seen = np.array([[True, True, False], [True, True, True]])[:, None, None, :]
    together = layer(Tensor(x), mask=seen).data
    alone = layer(Tensor(x[0, :2])).data
    np.testing.assert_allclose(together[0, :2], alone)
    np.testing.assert_allclose(layer(Tensor(x[::-1].copy()), mask=seen[::-1]).data, together[::-1])


def test_a_row_that_sees_nothing():
    q, k, v = (Tensor(RNG(i).standard_normal((3, 2)), requires_grad=True) for i in range(3))
    mask = np.array([[True, False, False], [False] * 3, [True] * 3])
    y = F.attention(q, k, v, mask=mask)
    assert not y.data[1].any() and y.data[[0, 2]].all()
    y.backward(np.ones((3, 2)))
    assert not q.grad[1].any() and np.isfinite(k.grad).all() and v.grad[0].all()


def test_a_mask_may_be_a_list():
    x = Tensor(RNG(0).standard_normal((2, 2)))
    y = F.attention(x, x, x, mask=[[True, False], [True, True]])
    np.testing.assert_array_equal(y.data, F.attention(x, x, x, causal=True).data)


@pytest.mark.parametrize(
    ("call", "shapes", "logits"),
    [
        (lambda x: F.causal_attention(x, 3), [(2, 150, 18)], None),
        (lambda x: F.causal_attention(30 * x, 1), [(150, 6)], None),  # exp needs the maximum
        (lambda x: F.causal_attention(x, 2, dropout_mask=RNG(7).random((3, 2, 70, 70)) > 0.3),
         [(3, 70, 12)], None),
        (F.grouped_attention, [(2, 150, 6, 3), (2, 150, 2, 3), (2, 150, 2, 3)], None),
        (lambda q, k, v: F.grouped_attention(30 * q, k, v, scale=0.5),
         [(70, 3, 2), (70, 1, 2), (70, 1, 2)], None),
        (F.gelu, [(3, 70_001)], None),
        (layer_norm, [(2, 9, 9000), (9000,), (9000,)], None),
        (layer_norm, [(9, 9000)], None),
        (lambda x, w: F.linear_cross_entropy(x, w, np.arange(40) % 7), [(40, 3), (9, 3)], 100),
    ],
)  # fmt: skip
def test_kernels_do_what_their_plain_twins_do(call, shapes, logits, monkeypatch):
    """In blocks of the real sizes, and several of them."""
    if logits:
        monkeypatch.setattr(F, "_LOGITS", logits)
    xs = [Tensor(RNG(n).standard_normal(s), requires_grad=True) for n, s in enumerate(shapes)]
    y = call(*xs)
    node = y
    while node._op.traceable is node._op.__wrapped__:  # the kernel may be behind a product
        node = node._args[0]
    value, _ = node._op.traceable(*(getattr(x, "data", x) for x in node._args), **node._kwargs)
    np.testing.assert_allclose(node.data, value, rtol=1e-9, atol=1e-12)
    g = RNG(9).standard_normal(y.shape)
    twins = grad(y, xs, g, create_graph=True)  # by the plain twin
    for a, b in zip(grad(y, xs, g), twins, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-8, atol=1e-10)


def test_kernels_take_integers_and_half_precision():
    np.testing.assert_allclose(
        layer_norm(Tensor([[1, 2, 4]])).data, [[-1.069, -0.267, 1.336]], 1e-3
    )
    np.testing.assert_allclose(F.gelu(Tensor([0, 1])).data, [0, 0.8412], 1e-4)
    x = 12 * RNG(0).standard_normal((2, 768)).astype(np.float16)
    w, b = np.full(768, 2, dtype=np.float16), np.ones(768, dtype=np.float16)
    expected = layer_norm(Tensor(x.astype(float)), w, b).data
    np.testing.assert_allclose(layer_norm(Tensor(x), w, b).data, expected, atol=0.02)
    q = np.full((512, 3 * 2), 1.9, dtype=np.float16)
    np.testing.assert_allclose(F.causal_attention(Tensor(q), 1).data, 1.9, rtol=0.01)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_bounded_by_lengths(dtype):
    limit = math.log(np.finfo(dtype).max) / 2
    q, k = np.zeros((2, 3, 4), dtype), np.zeros((2, 3, 4), dtype)
    assert F._bounded(q, k, 9.0)
    q[1, 2, :2], k[0, 1, 3] = [3, 4], 7  # of lengths 5 and 7
    for share, bounded in ((0.999, True), (1.001, False)):
        assert F._bounded(q, k, share * limit / 35) == bounded
        assert F._bounded(k, q, -share * limit / 35) == bounded
    assert not F._bounded(q * np.nan, k, 1.0)


def test_vectors_of_no_entries_are_normalized():
    x, w = Tensor(np.zeros((3, 0)), requires_grad=True), Tensor(np.ones(0), requires_grad=True)
    y = layer_norm(x, w)
    y.backward(np.zeros((3, 0)))
    assert y.shape == x.grad.shape == (3, 0) and w.grad.shape == (0,)


def test_the_gradient_of_a_table_adds_up():
    w = Tensor(np.zeros((4, 2)), requires_grad=True)
    for n in range(1, 3):
        F.embedding(w, [3, 1, 3]).sum().backward()
        np.testing.assert_array_equal(w.grad, [[0, 0], [n, n], [0, 0], [2 * n, 2 * n]])


def test_tiles_cover_what_a_query_may_see(monkeypatch):
    monkeypatch.setattr(F, "_QUERIES", 4)
    for scores, sequences in ((1, 1), (239, 1), (240, 2), (480, 4)):  # 3 x 4 x 10 of a sequence
        monkeypatch.setattr(F, "_SCORES", scores)
        tiles = F._tiles(5, 3, 10)
        assert [rows.start for _, rows, _ in tiles[:3]] == [0, 4, 8]
        assert [keys.stop for _, _, keys in tiles[:3]] == [4, 8, 10]
        assert {b.stop - b.start for b, _, _ in tiles} == {sequences}


def test_a_loss_for_the_weights_of_the_head_alone():
    x, w = Tensor(RNG(0).standard_normal((5, 3))), RNG(1).standard_normal((4, 3))
    check_gradients(lambda w: F.linear_cross_entropy(x, w, [0, 1, 2, 3, -100]), w)


def test_cross_entropy_of_nothing_is_zero():
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    loss = F.cross_entropy(x, [5, 5], ignore_index=5)
    loss.backward()
    assert loss.item() == 0 and not x.grad.any()


def test_cross_entropy_leaves_out_minus_100():
    x = Tensor(np.array([[0.0, 1.0], [5.0, -5.0]]), requires_grad=True)
    loss = F.cross_entropy(x, [0, -100])
    assert loss.item() == pytest.approx(math.log(1 + math.e))
    loss.backward()
    assert x.grad[0].all() and not x.grad[1].any()
    for other in (-99, -101, 100):
        with pytest.raises(IndexError):
            F.cross_entropy(x, [0, other])


def test_dropout_zeroes_with_probability_p_exactly():
    class Stub:
        def random(self, shape, dtype):
            return np.array([0.25, 0.5, 0.75], dtype)

    x = Tensor(np.ones(3), requires_grad=True)
    np.testing.assert_array_equal(F.dropout(x, 0.5, Stub()).data, [0, 2, 2])


def test_dropout():
    layer = nn.Dropout(0.25, RNG(0))
    x = Tensor(np.ones((100, 100), np.float32), requires_grad=True)
    y = layer(x)
    assert set(np.unique(y.data)) == {np.float32(0), np.float32(4 / 3)}
    assert y.data.mean() == pytest.approx(1, abs=0.02)
    y.backward(np.ones_like(x.data))
    np.testing.assert_array_equal(x.grad, y.data)
    assert layer.eval()(x) is x
    assert nn.Dropout(0.0, RNG(0))(x) is x
    with pytest.raises(ValueError, match="below 1, got 1"):
        nn.Dropout(1, RNG(0))
    assert (nn.Dropout(0.5, None)(x).data == 0).any()  # from a generator of its own


def test_dropout_in_a_block_acts_in_training_only():
    block = nn.Block(4, 2, 8, RNG(0), dropout=0.5)
    x = Tensor(RNG(1).standard_normal((2, 3, 4), dtype=np.float32))
    assert (block(x).data != block(x).data).any()
    assert block(x).dtype == np.float32
    block.eval()
    np.testing.assert_array_equal(block(x).data, block(x).data)
    attention = nn.MultiHeadAttention(4, 2, RNG(0), dropout=0.5)
    attention.dropout.p, draws = 0.5, []
    for name, mask in (("causal_attention", None), ("attention", np.ones((3, 3), dtype=bool))):
        op = getattr(F, name)
        spy = lambda *args, op=op, **kw: draws.append(kw["dropout_mask"]) or op(*args, **kw)  # noqa: E731
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(F, name, spy)
            attention(x, mask)
    for drawn in draws:
        assert drawn.shape == (2, 2, 3, 3) and set(np.unique(drawn)) <= {0, 2}
    assert len(draws) == 2 and (draws[0] != draws[1]).any()


def test_what_cannot_be_checkpointed():
    block, x = nn.Block(4, 2, 8, RNG(0)), Tensor(np.ones((3, 4)))
    for wrong in ((Tensor([1, 2]),), (x, Tensor(np.ones(4), requires_grad=True))):
        with pytest.raises(TypeError, match="checkpoint_activations: x must be floating-point"):
            nn.checkpoint_activations(block, *wrong)


def test_checkpointed_activations_of_higher_order_have_the_same_dropout():
    block = nn.FeedForward(4, 8, RNG(0), dropout=0.5).to(float)
    x = Tensor(RNG(1).standard_normal((3, 4)), requires_grad=True)
    y = nn.checkpoint_activations(block, x)
    after = block.dropout.rng.bit_generator.state
    (traced,) = grad(y, x, np.ones((3, 4)), create_graph=True)
    (raw,) = grad(y, x, np.ones((3, 4)))
    np.testing.assert_allclose(traced.data, raw.data)
    assert block.dropout.rng.bit_generator.state == after


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_checkpointed_activations_give_the_same_gradients(dropout):
    blocks, results = [nn.Block(8, 2, 16, RNG(n), dropout=dropout) for n in range(3)], []
    blocks[1].norm1.weight.requires_grad = False
    x = Tensor(RNG(1).standard_normal((2, 3, 8), dtype=np.float32), requires_grad=True)
    parameters = [p for block in blocks for p in block.parameters()]
    for apply in (lambda block, x: block(x), nn.checkpoint_activations):
        rng = RNG(5)
        for module in (m for block in blocks for m in block.modules()):
            if isinstance(module, nn.Dropout):
                module.rng = rng
        y = x
        for block in blocks:
            y = apply(block, y)
        y.backward(RNG(2).standard_normal(y.shape, dtype=np.float32))
        grads = [p.grad for p in [x, *parameters]]
        results.append([y.data, rng.random(), *grads])
        for p in [x, *parameters]:
            p.grad = None
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    assert sum(a is None for a in results[1]) == 1


def test_checkpointed_activations_have_derivatives_of_weights_too():
    block = nn.Block(4, 2, 8, RNG(0)).to(float)
    x = Tensor(RNG(1).standard_normal((2, 3, 4)), requires_grad=True)
    w = block.attention.qkv.weight
    g = RNG(2).standard_normal(x.shape)
    seconds = []
    for y in (block(x), nn.checkpoint_activations(block, x)):
        gx, gw = grad(y, [x, w], g, create_graph=True)
        seconds.append(grad((gx * gx).sum() + (gw * gw).sum(), [x, w]))
    for a, b in zip(*seconds, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-12)
    mask = np.eye(3, dtype=bool)
    masked = nn.checkpoint_activations(block, x, mask).data
    np.testing.assert_array_equal(masked, block(x, mask).data)
    assert (masked != block(x).data).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.MultiHeadAttention(6, 4, RNG(0)), "width 6 cannot be divided among 4 heads"),
        (
            lambda: nn.FeedForward(2, 2, RNG(0), activation="swish"),
            "'swish' is not one of gelu, gelu_erf",
        ),
    ],
)
def test_impossible_layers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_sinusoidal_positions():
    table = nn.sinusoidal_positions(50, 6)
    assert table.shape == (50, 6)
    for t, i in [(0, 0), (7, 1), (49, 2)]:
        angle = t / 10000 ** (2 * i / 6)
        np.testing.assert_allclose(table[t, 2 * i], math.sin(angle), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(table[t, 2 * i + 1], math.cos(angle), rtol=1e-12, atol=1e-12)
    assert nn.sinusoidal_positions(4, 5).shape == (4, 5)


# ---------------------------------------------------------------- optimizers


def parameters():
    rng = RNG(0)
    shapes = [(3, 4), (4,), ()]
    made = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    for p in made:
        p.grad = np.asarray(rng.standard_normal(p.shape))
    return made


def test_sgd_with_momentum():
    ps = parameters()
    start, grads = [p.data.copy() for p in ps], [p.grad.copy() for p in ps]
    optimizer = nn.SGD(ps, lr=0.1, momentum=0.9)
    optimizer.step()
    optimizer.step()  # velocities g, then 1.9 g
    for p, x, g in zip(ps, start, grads, strict=True):
        np.testing.assert_allclose(p.data, x - 0.1 * 2.9 * g)
    optimizer.zero_grad()
    assert all(p.grad is None for p in ps)
    optimizer.step()


def test_adamw_against_its_formula(monkeypatch):
    for block in (32_768, 5):  # in one piece, and in blocks that do not divide the matrix
        monkeypatch.setattr(nn.optim, "BLOCK", block)
        ps = parameters()
        expected, grads = [p.data.copy() for p in ps], [p.grad.copy() for p in ps]
        optimizer = nn.AdamW(ps, lr=0.01, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.5)
        for t in (1, 2, 3):
            optimizer.step()
            for x, g in zip(expected, grads, strict=True):
                m, v = (1 - 0.8**t) * g, (1 - 0.9**t) * g * g  # of a constant gradient
                x *= 1 - 0.01 * 0.5 * (x.ndim >= 2)
                x -= 0.01 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-3)
        for p, x, g in zip(ps, expected, grads, strict=True):
            np.testing.assert_allclose(p.data, x, rtol=1e-12)
            np.testing.assert_array_equal(p.grad, g)


def test_a_parameter_without_gradient_stays():
    ps = parameters()
    ps[1].grad = None
    before = ps[1].data.copy()
    nn.AdamW(ps, weight_decay=1.0).step()
    nn.SGD(ps, 1.0).step()
    np.testing.assert_array_equal(ps[1].data, before)


def test_groups_have_rates_and_decays_of_their_own():
    def moved(groups):
        ps = [Tensor(np.ones((2, 2)), requires_grad=True), Tensor(np.ones(2), requires_grad=True)]
        for p in ps:
            p.grad = np.zeros(p.shape)
        optimizer = nn.AdamW(groups(*ps), lr=0.5, weight_decay=0.2)
        optimizer.step()
        assert optimizer.parameters == ps
        return [p.data.flat[0] for p in ps]

    assert moved(lambda a, b: [a, b]) == pytest.approx([0.9, 1.0])  # matrices only
    assert moved(
        lambda a, b: [{"params": [a], "lr_scale": 0.1}, {"params": (b,), "weight_decay": 0.4}]
    ) == pytest.approx([0.99, 0.8])
    velocity = Tensor(1.0, requires_grad=True)
    velocity.grad = np.array(0.0)
    nn.SGD([{"params": [velocity], "weight_decay": 0.5}], lr=0.1).step()
    assert velocity.item() == pytest.approx(0.95)


def runs_alike(make, prepare, change):
    """Steps of an optimizer whose parameters are laid end to end, and of one that lays none."""
    results = []
    for block in (1, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nn.optim, "BLOCK", block)
            ps = prepare()
            optimizers = make(ps)
            assert bool(optimizers[0]._laid) == (block > 1)
            for step in range(6):
                for n, p in enumerate(ps):
                    y = (p * RNG([step, n]).standard_normal(p.shape).astype(p.dtype)).sum()
                    y.backward()
                change(step, ps)
                nn.clip_grad_norm(ps, 2.0)
                for optimizer in optimizers:
                    optimizer.step()
                optimizers[0].zero_grad()
            states = [v for o in optimizers for v in o.state_dict().values()]
            results.append([*(p.data for p in ps), *states])
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def mixed():
    """Parameters of two dtypes, and of 0 to 3 axes."""
    shapes = [(3, 4), (4,), (), (2, 2), (5,), (0, 2), (2, 1, 2), (3,)]
    return [
        Tensor(RNG(n).standard_normal(shape), requires_grad=True, dtype=dtype)
        for n, shape in enumerate(shapes)
        for dtype in (np.float32, np.float64)
    ]


def replace_data(step, ps):
    if step == 2:
        ps[4].data = ps[4].data.copy()


def replace_gradient(step, ps):
    if step == 2:
        ps[0].grad = 2 * ps[0].grad


def drop_gradient(step, ps):
    if step in (1, 4):
        ps[0].grad = None


@pytest.mark.parametrize(
    "change", [lambda step, ps: None, replace_data, replace_gradient, drop_gradient]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda ps: [nn.AdamW(ps, 0.1, weight_decay=0.3)],
        lambda ps: [nn.SGD(ps, 0.1, momentum=0.9)],
        lambda ps: [nn.AdamW([{"params": ps[:7], "weight_decay": 0.2},
                              {"params": ps[7:], "lr_scale": 0.5}], 0.1)],
        lambda ps: [nn.AdamW(ps, 0.1), nn.SGD(ps[2:], 0.1)],
    ],
)  # fmt: skip
def test_small_parameters_end_to_end_move_as_one_by_one(make, change):
    runs_alike(make, mixed, change)


def test_what_is_not_laid_end_to_end():
    def pair():
        return [Tensor(np.ones(3), requires_grad=True) for _ in range(2)]

    assert len(nn.AdamW(pair())._laid) == 1 and not nn.AdamW(pair()[:1])._laid
    assert not nn.Muon([Tensor(np.ones((2, 2)), requires_grad=True) for _ in range(2)])._laid
    held = (ps := pair())[0].data  # whoever holds the array sees what becomes of it
    assert not nn.AdamW(ps)._laid and ps[0].data is held
    ps = pair()
    vector = nn.optim.flatten(ps)
    assert not nn.AdamW([vector, *pair()[:1]])._laid and ps[0].data.base is vector.data
    ps = pair()
    ps[0].requires_grad = False
    assert not nn.AdamW(ps)._laid


def test_gradients_that_are_there_when_an_optimizer_is_made_stay():
    ps = parameters()
    before = [p.grad for p in ps]
    nn.AdamW(ps)
    assert all(p.grad is g for p, g in zip(ps, before, strict=True))


def test_a_new_optimizer_for_arrays_of_other_sizes():
    ps = [Tensor(np.ones(3), requires_grad=True) for _ in range(2)]
    assert nn.SGD(ps, 0.1)._laid
    ps[0].data = np.ones(5)  # a larger vocabulary, for one
    ps[1].data = np.ones(3, np.float32)
    optimizer = nn.SGD(ps, 0.1)
    for p in ps:
        (2 * p).sum().backward()
        assert p.grad.shape == p.shape and p.grad.dtype == p.dtype
    optimizer.step()
    np.testing.assert_allclose(ps[0].data, 0.8)


@pytest.mark.parametrize("make", [nn.AdamW, nn.Muon, lambda ps: nn.SGD(ps, 0.1)])
def test_zeros_that_were_not_loaded_can_be_trained(make):
    (weight,) = nn.Linear(2, 3, None, bias=False).parameters()
    optimizer = make([weight])
    weight.sum().backward()
    optimizer.step()
    assert (weight.data < 0).all()


def test_a_copy_of_an_optimizer_moves_its_own_parameters():
    ps = [p for p in mixed() if p.size]
    optimizer = nn.AdamW(ps, 0.1)
    for p in ps:
        p.sum().backward()
    assert optimizer._laid and all(one.whole(optimizer._counts) for one in optimizer._laid)
    other, copies = copy.deepcopy((optimizer, ps))
    other.step()
    assert all((p.data != c.data).all() for p, c in zip(ps, copies, strict=True))
    optimizer.step()
    for p, c in zip(ps, copies, strict=True):
        np.testing.assert_allclose(p.data, c.data)


def test_impossible_groups():
    x = Tensor(np.ones(2), requires_grad=True)
    with pytest.raises(ValueError, match="no option learning_rate"):
        nn.AdamW([{"params": [x], "learning_rate": 1}])
    with pytest.raises(ValueError, match="in two groups, or twice in one"):
        nn.AdamW([{"params": [x]}, {"params": [x]}])
    with pytest.raises(ValueError, match=r"Muon moves matrices, got .* shape \(2,\): use AdamW"):
        nn.Muon([x])
    assert nn.Muon([]).step() is None


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6), (24, 8)])
def test_orthogonalize_brings_singular_values_to_one(shape):
    u, s, vt = np.linalg.svd(RNG(1).standard_normal(shape), full_matrices=False)
    x = (u * np.linspace(0.03, 1, len(s))) @ vt
    y = nn.optim.orthogonalize(1e3 * x)
    got = np.diagonal(u.T @ y @ vt.T)
    assert (got > 0.18).all() and (got < 1.87).all()
    np.testing.assert_allclose(u @ np.diag(got) @ vt, y, atol=1e-12)  # the same vectors
    assert not nn.optim.orthogonalize(np.zeros(shape)).any()
    assert nn.optim.orthogonalize(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize(("split", "scale"), [(1, 2), (2, math.sqrt(2)), (4, 1)])
def test_muon_against_its_formula(split, scale, even):
    p = Tensor(RNG(0).standard_normal((3, 12)), requires_grad=True)
    expected, mean, squares = p.data.copy(), 0, np.zeros((3, split))
    optimizer = nn.Muon(
        [{"params": [p], "split": split}], 0.1, momentum=0.8, even_rows=even, weight_decay=0.5
    )
    for seed in range(3):
        p.grad = RNG(seed).standard_normal((3, 12))
        optimizer.step()
        mean = 0.8 * mean + 0.2 * p.grad
        parts = np.split(0.8 * mean + 0.2 * p.grad, split, axis=1)
        parts = [nn.optim.orthogonalize(part) for part in parts]
        for n, part in enumerate(parts if even else []):
            squares[:, n] = 0.95 * squares[:, n] + 0.05 * (part**2).mean(axis=1)
            rows = part / np.sqrt(squares[:, n, None])
            parts[n] = rows * np.linalg.norm(part) / np.linalg.norm(rows)
        step = np.hstack(parts)
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * scale * step
    np.testing.assert_allclose(p.data, expected, rtol=1e-7)


@pytest.mark.parametrize("make", [
    nn.AdamW, nn.Muon, functools.partial(nn.Muon, even_rows=True),
    functools.partial(nn.SGD, lr=0.1, momentum=0.9),
])  # fmt: skip
def test_an_optimizer_goes_on_from_its_state(make):
    def steps(optimizer, seeds):
        for seed in seeds:
            for p in optimizer.parameters:
                p.grad = RNG(seed).standard_normal(p.shape)
            optimizer.step()

    def parameters():
        return [Tensor(np.ones((2, 3)), requires_grad=True) for _ in range(2)]

    straight = make(parameters())
    steps(straight, range(6))
    first = make(parameters())
    steps(first, range(3))
    state = {name: array.copy() for name, array in first.state_dict().items()}
    second = make(parameters())
    for p, q in zip(first.parameters, second.parameters, strict=True):
        q.data[:] = p.data
    second.load_state_dict(state)
    steps(second, range(3, 6))
    for p, q in zip(straight.parameters, second.parameters, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    with pytest.raises(ValueError, match=r"state of another optimizer: 1\.\w+.* do not fit"):
        second.load_state_dict({k: v for k, v in state.items() if not k.startswith("1.")})


def test_clip_grad_norm():
    ps = parameters()
    norm = math.sqrt(sum((p.grad**2).sum() for p in ps))
    before = [p.grad.copy() for p in ps]
    assert nn.clip_grad_norm(ps, norm * 2) == pytest.approx(norm)
    np.testing.assert_array_equal(ps[0].grad, before[0])
    assert nn.clip_grad_norm(ps, 0.5) == pytest.approx(norm)
    for p, g in zip(ps, before, strict=True):
        np.testing.assert_allclose(p.grad, g * 0.5 / norm)
    assert nn.clip_grad_norm([Tensor(1.0)], 1.0) == 0


def test_clip_grad_norm_leaves_other_gradients():
    a, b = (Tensor(np.ones(3), requires_grad=True) for _ in range(2))
    vector = nn.optim.flatten([a, b])
    (a + 2 * b).sum().backward()
    for some in ([a], [a, a]):  # as many entries as the vector has
        assert nn.clip_grad_norm(some, 9) == pytest.approx(math.sqrt(3 * len(some)))
        nn.clip_grad_norm(some, 1)
        np.testing.assert_array_equal(b.grad, 2)
        a.grad.fill(1)
    assert nn.clip_grad_norm([a, b], 99) == pytest.approx(math.sqrt(15)) and vector.grad[3] == 2


def test_even_rows_of_zeros_stay_zeros():
    p = Tensor(np.ones((3, 4)), requires_grad=True)
    optimizer = nn.Muon([p], even_rows=True)
    p.grad = np.zeros((3, 4))
    optimizer.step()
    p.grad[0] = 1
    optimizer.step()
    assert (p.data[1:] == 1).all() and np.isfinite(p.data).all() and (p.data[0] < 1).all()


def test_schedule():
    rates = [nn.warmup_cosine(i, 100, lr=1.0, min_lr=0.1, warmup=10) for i in range(120)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 11)
    assert rates[10] == 1.0 and rates[55] == pytest.approx(0.55) and rates[100:] == [0.1] * 20
    assert (np.diff(rates[10:]) <= 0).all()
    assert nn.warmup_cosine(5, 5, 1.0, 0.1, 5) >= 0.1
    linear = [nn.warmup_linear(i, 100, lr=1.0, min_lr=0.1, warmup=10) for i in range(120)]
    assert linear[:11] == rates[:11] and linear[55] == pytest.approx(0.55)
    np.testing.assert_allclose(np.diff(linear[10:101]), -0.01)
    assert linear[100:] == [0.1] * 20
    assert nn.warmup_linear(5, 5, 1.0, 0.1, 5) >= 0.1


def test_each_parameter_counts_its_own_steps():
    """Whatever the steps in which a gradient came, it moves as if alone, from its first one on."""
    given = [[True] * 6, [False] * 4 + [True] * 2, [True, False] * 3, [False] * 6]
    ps = [Tensor(np.ones(3), requires_grad=True) for _ in given]
    optimizer = nn.AdamW(ps, 0.1, betas=(0.8, 0.9))
    assert optimizer._laid
    for step in range(6):
        for n, p in enumerate(ps):
            p.grad = RNG([step, n]).standard_normal(3) if given[n][step] else None
        optimizer.step()
    for n, p in enumerate(ps):
        alone = Tensor(np.ones(3), requires_grad=True)
        own = nn.AdamW([alone], 0.1, betas=(0.8, 0.9))
        for step in range(6):
            if given[n][step]:
                alone.grad = RNG([step, n]).standard_normal(3)
                own.step()
        np.testing.assert_allclose(p.data, alone.data, rtol=1e-12)
    state = {name: array.copy() for name, array in optimizer.state_dict().items()}
    assert state["steps"] == 6 and state["counts"].tolist() == [6, 2, 3, 0]
    other = nn.AdamW([Tensor(p.data.copy(), requires_grad=True) for p in ps], 0.1, betas=(0.8, 0.9))
    other.load_state_dict(state)
    for one in (optimizer, other):
        for p in one.parameters:
            p.grad = np.ones(3)
        one.step()
    for p, q in zip(ps, other.parameters, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    with pytest.raises(ValueError, match="counts do not fit"):
        other.load_state_dict({**state, "counts": np.ones(3, int)})


def test_the_state_of_an_ordinary_run_is_kept_as_before():
    ps = [Tensor(np.ones(3), requires_grad=True) for _ in range(2)]
    optimizer = nn.AdamW(ps)
    for _ in range(3):
        for p in ps:
            p.grad = np.ones(3)
        optimizer.step()
    state = optimizer.state_dict()
    assert state.keys() == {"steps", "0.sum", "0.squares", "1.sum", "1.squares"}
    optimizer.load_state_dict({**state, "steps": np.array(7)})
    assert optimizer.steps == 7 and optimizer._counts == [7, 7]


def linear():
    return nn.Linear(3, 2, RNG(0))


@pytest.mark.parametrize("make", [nn.AdamW, lambda given: nn.SGD(given, 0.1)])
def test_what_an_optimizer_takes(make):
    for given in (
        lambda m: m, lambda m: m.parameters(), lambda m: m.named_parameters(),
        lambda m: list(m.named_parameters()), lambda m: iter(m.parameters()),
        lambda m: [{"params": m}], lambda m: [{"params": m.weight}, {"params": [m.bias]}],
        lambda m: [{"params": m.named_parameters()}],
    ):  # fmt: skip
        model = linear()
        optimizer = make(given(model))
        assert [id(p) for p in optimizer.parameters] == [id(p) for p in model.parameters()]
    model = linear()
    assert make(model.weight).parameters == [model.weight]
    model.weight.grad = np.full((3, 2), 2, np.float32)
    for given in (model, model.named_parameters(), model.weight):
        assert nn.clip_grad_norm(given, 99) == pytest.approx(math.sqrt(24))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda m: m.state_dict(), "expected Tensors as parameters .*, got a str"),
        (lambda m: [m.weight.data], "expected Tensors as parameters .*, got a ndarray"),
        (lambda m: [m], "expected Tensors as parameters .*, got a Linear"),
        (lambda m: set(m.parameters()), "a list of parameters, got a set"),
        (lambda m: None, "a list of parameters, got a NoneType"),
        (lambda m: 0.1, "a list of parameters, got a float"),
        (lambda m: {"params": m}, "expected Tensors as parameters .*, got a str"),
        (lambda m: [m.weight * 2], r"shape \(3, 2\) was computed by an op, .* no gradient"),
    ],
)
def test_what_an_optimizer_does_not_take(given, message):
    for take in (nn.AdamW, lambda given: nn.clip_grad_norm(given, 1.0)):
        with pytest.raises(TypeError, match=message):
            take(given(linear()))


def test_what_is_no_group():
    m = linear()
    for groups in ([{"params": [m.weight]}, m.bias], [{"lr_scale": 0.5}]):
        with pytest.raises(TypeError, match='group of parameters is a mapping with "params", got'):
            nn.AdamW(groups)
    with pytest.raises(AttributeError, match="append"):  # it would not be moved
        nn.AdamW(m).groups[0]["params"].append(m.weight)


def test_a_gradient_set_by_hand_has_the_shape_of_the_parameter():
    for make in (nn.AdamW, nn.Muon, lambda ps: nn.SGD(ps, 0.1), lambda p: nn.clip_grad_norm(p, 1)):
        for wrong in (np.ones(2), np.ones((1, 2)), 1.0, np.ones((3, 2), complex)):
            weight = linear().weight
            before, weight.grad = weight.data.copy(), wrong
            with pytest.raises(ValueError, match=r"shape \(3, 2\) has a grad of shape .*to None"):
                optimizer = make([weight])
                weight.grad = np.broadcast_to(wrong, np.shape(wrong))
                optimizer.step()
            np.testing.assert_array_equal(weight.data, before)
    moved = []
    ones = np.ones((3, 2))
    for same in (ones.astype("f4"), ones, ones.tolist(), Tensor(ones), ones.astype("f2"),
                 np.broadcast_to(1.0, (3, 2)), np.ones((2, 3)).T):  # fmt: skip
        weight = linear().weight
        optimizer, weight.grad = nn.AdamW([weight]), same
        assert nn.clip_grad_norm([weight], 1.0) == pytest.approx(math.sqrt(6))
        optimizer.step()
        assert weight.dtype == weight.grad.dtype == np.float32
        moved.append(weight.data)
    assert all((data == moved[0]).all() for data in moved)


class Lamb(nn.optim.Optimizer):
    """Moves a parameter in proportion to its length, as LAMB and LARS do."""

    def _update(self, p, lr, decay, group, count):
        p.data -= lr * np.linalg.norm(p.data) / np.linalg.norm(p.grad) * p.grad


class LambOfAdam(nn.AdamW):
    _update = Lamb._update
    _moments = ()


@pytest.mark.parametrize("make", [Lamb, LambOfAdam])
def test_an_optimizer_that_looks_at_whole_parameters_gets_them_one_by_one(make):
    ps = [Tensor(np.full(2, 3.0), requires_grad=True), Tensor(np.full(2, 5.0), requires_grad=True)]
    optimizer = make(ps, lr=0.5)
    for p in ps:
        (p * p).sum().backward()
    optimizer.step()
    assert [p.data.tolist() for p in ps] == [[1.5, 1.5], [2.5, 2.5]]


def steps_of(make, dtype, scale):
    """Ten steps of an optimizer from the same gradients in one dtype."""
    ps = [Tensor(RNG(n).standard_normal((3, 4)).astype("f2"), True, dtype) for n in range(2)]
    optimizer = make(ps)
    for step in range(10):
        for n, p in enumerate(ps):
            p.grad = (scale * RNG([step, n]).standard_normal(p.shape)).astype("f2").astype(dtype)
        optimizer.step()
    return [p.data for p in ps]


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e3])
@pytest.mark.parametrize(
    "make", [lambda ps: nn.AdamW(ps, 0.1), lambda ps: nn.Muon(ps, 0.1),
             lambda ps: nn.SGD(ps, 1e-4, momentum=0.9)],
)  # fmt: skip
def test_optimizers_keep_their_moments_of_float16_in_float32(make, scale):
    for half, exact in zip(*(steps_of(make, t, scale) for t in ("f2", "f8")), strict=True):
        assert half.dtype == np.float16
        np.testing.assert_allclose(half, exact, rtol=0.02, atol=0.01)


def test_clip_grad_norm_of_float16():
    p = Tensor(np.zeros(1000, np.float16), requires_grad=True)
    p.grad = np.full(1000, 300, np.float16)
    assert nn.clip_grad_norm([p], 1e-4) == pytest.approx(300 * math.sqrt(1000), rel=1e-6)
    np.testing.assert_allclose(p.grad, 1e-4 / math.sqrt(1000), rtol=0.02)


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize(
    "make", [nn.AdamW, lambda m: nn.SGD(m, 0.1, momentum=0.9), lambda m: nn.Muon([m.weight])]
)
def test_a_copy_of_a_model_and_its_optimizer_goes_on_alone(copied, make):
    def step(model, optimizer, seed):
        optimizer.zero_grad()
        x = RNG(seed).standard_normal((4, 3)).astype(np.float32)
        (model(Tensor(x)) ** 2).sum().backward()
        optimizer.step()

    model = linear()
    model.again = model.weight
    optimizer = make(model)
    step(model, optimizer, 0)
    other, mover = copied((model, optimizer))
    assert other.again is other.weight and mover.parameters[0] is other.weight
    before = [p.data.copy() for p in model.parameters()]
    step(other, mover, 1)
    for p, data in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, data)
    step(model, optimizer, 1)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    assert optimizer.state_dict().keys() == mover.state_dict().keys()


def test_a_whole_model_can_be_copied_and_pickled():
    block = nn.Block(4, 2, 8, RNG(0), dropout=0.5, activation="silu")
    x = Tensor(RNG(1).standard_normal((3, 4)))
    expected = block(x).data
    for other in (copy.deepcopy(nn.Block(4, 2, 8, RNG(0), dropout=0.5, activation="silu")),
                  pickle.loads(pickle.dumps(nn.Block(4, 2, 8, RNG(0), dropout=0.5,
                                                     activation="silu")))):  # fmt: skip
        np.testing.assert_array_equal(other(x).data, expected)  # its generator draws the same
    block.kept = block(x)
    with pytest.raises(TypeError, match=r"an op has computed .* copy t\.detach"):
        copy.deepcopy(block)


# ---------------------------------------------------------------- dtypes and generators


LAYERS = {
    "Linear": lambda: nn.Linear(4, 4, RNG(0)),
    "LayerNorm": lambda: nn.LayerNorm(4),
    "attention": lambda: nn.MultiHeadAttention(4, 2, RNG(0)),
    "attention, not causal": lambda: nn.MultiHeadAttention(4, 2, RNG(0), causal=False),
    "FeedForward": lambda: nn.FeedForward(4, 8, RNG(0)),
    "Block": lambda: nn.Block(4, 2, 8, RNG(0)),
    "Block, norm last": lambda: nn.Block(4, 2, 8, RNG(0), norm_first=False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_in_the_dtype_of_its_weights(name, monkeypatch):
    x, seen = RNG(1).standard_normal((3, 4)).round(3), set()
    for dtype in (np.float16, np.float32, np.float64):
        layer = LAYERS[name]().to(dtype)
        expected = layer(Tensor(x, dtype=dtype)).data
        for other in (np.float16, np.float32, np.float64):
            given = Tensor(x.astype(other), requires_grad=True)
            y = layer(given)
            y.sum().backward()
            assert y.dtype == dtype and given.grad.dtype == other
            assert {p.grad.dtype for p in layer.parameters()} == {np.dtype(dtype)}
            if np.dtype(other).itemsize >= np.dtype(dtype).itemsize:
                np.testing.assert_allclose(y.data, expected, rtol=1e-6)
            seen.add((dtype, other))
        for given in (x.tolist(), x, np.arange(12).reshape(3, 4), Tensor(x > 0)):
            assert layer(given).dtype == dtype
    assert len(seen) == 9


def test_attention_weights_have_the_dtype_of_the_layer():
    layer = nn.MultiHeadAttention(4, 2, RNG(0))
    assert layer.weights(Tensor(RNG(1).standard_normal((3, 4)))).dtype == np.float32


@pytest.mark.parametrize("rng", [0, 1, True, "0", np.random, RNG])
def test_a_generator_that_is_none(rng):
    for make, name in [
        (lambda: nn.Linear(3, 2, rng), "Linear"), (lambda: nn.Embedding(3, 2, rng), "Embedding"),
        (lambda: nn.Dropout(0.1, rng), "Dropout"), (lambda: nn.Block(4, 2, 8, rng), "Linear"),
    ]:  # fmt: skip
        message = rf"{name}: expected a generator .*default_rng\(seed\), or None"
        with pytest.raises(TypeError, match=message):
            make()


def test_dropout_without_a_generator():
    for rng in (None, 0, 5):
        with pytest.raises(TypeError, match=r"dropout: expected a generator.*default_rng"):
            F.dropout(Tensor([1.0]), 0.5, rng)


def test_a_layer_of_no_inputs_gives_its_bias():
    assert nn.Linear(0, 2, RNG(0))(np.ones((3, 0))).data.tolist() == [[0, 0]] * 3


# ---------------------------------------------------------------- the import rules


def test_another_autograd_is_named(tmp_path):
    (tmp_path / "autograd").mkdir()
    (tmp_path / "autograd" / "__init__.py").write_text("grad = None\n")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(sys.path[0])!r}, '.']; import nn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{tmp_path}" in done.stderr and "pip uninstall autograd" in done.stderr


def test_dropout_of_nothing_draws_nothing():
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert F.dropout(x, 0, None) is x


def test_a_gradient_has_the_dtype_and_shape_of_an_array_that_was_replaced():
    parameters = [Tensor(np.ones(3, np.float32), requires_grad=True) for _ in range(2)]
    optimizer = nn.AdamW(parameters)  # which gives them places for their gradients
    for data in (np.ones(3), np.ones(5, np.float32), np.ones((3, 1), np.float32)):
        parameters[0].data = data
        optimizer.zero_grad()
        sum((p * p).sum() for p in parameters).backward()
        assert (parameters[0].grad == 2).all()
        assert (parameters[0].grad.shape, parameters[0].grad.dtype) == (data.shape, data.dtype)


# ---------------------------------------------------------------- what small networks need


def test_losses_refuse_targets_of_another_shape():
    for loss in (F.mse_loss, F.huber_loss, F.binary_cross_entropy_with_logits):
        with pytest.raises(ValueError, match=rf"{loss.__name__}: .*\(3, 1\).*\(3,\)"):
            loss(Tensor(np.ones((3, 1))), np.ones(3))


def test_losses_far_out():
    x = Tensor(np.array([-1e4, 1e4, 1e4], np.float32), requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, np.array([0, 1, 0], np.float32))
    loss.backward()
    assert loss.item() == pytest.approx(1e4 / 3) and np.isfinite(x.grad).all()
    assert np.isfinite(F.softplus(x).data).all() and F.softplus(x).dtype == np.float32


def test_a_small_convolutional_network_learns():
    rng = RNG(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, rng, padding=1), F.silu, lambda x: F.max_pool2d(x, 2),
        nn.Conv2d(4, 4, 3, rng, stride=2), lambda x: x.reshape(len(x), -1), nn.Linear(4, 2, rng),
    )  # fmt: skip
    assert "Conv2d(1 -> 4, 3 x 3, bias)" in repr(model)
    names = [name for name, _ in model.named_parameters()]
    assert names[0] == "layers.0.weight" and len(names) == 6
    pictures = rng.standard_normal((20, 1, 8, 8)).astype(np.float32)
    labels = (pictures[:, 0, :, :4].sum(axis=(1, 2)) > 0).astype(int)
    optimizer, losses = nn.AdamW(model, lr=0.02), []
    for _ in range(60):
        losses.append(F.cross_entropy(model(pictures), labels))
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1].item() < losses[0].item() / 3 and losses[-1].dtype == np.float32


def test_a_memory_cell_is_that_of_the_formula():
    cell = nn.LSTMCell(3, 2, RNG(0))
    x = RNG(1).standard_normal((4, 5, 3)).astype(np.float32)
    h, c = np.zeros((5, 2)), np.zeros((5, 2))
    state = None
    s = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    for step in x:
        state = cell(step, state)
        z = step @ cell.input.weight.data + cell.input.bias.data + h @ cell.hidden.weight.data
        i, f, g, o = np.split(z, 4, axis=-1)
        c = s(f) * c + s(i) * np.tanh(g)
        h = s(o) * np.tanh(c)
    np.testing.assert_allclose(state[0].data, h, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state[1].data, c, rtol=1e-5, atol=1e-6)
    assert state[0].dtype == np.float32
    check_gradients(lambda w: np.tanh(cell.to(float)(x[0].astype(float), (w, w))[0]), h)
