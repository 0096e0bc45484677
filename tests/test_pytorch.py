"""The ops, the whole model and the optimizers against PyTorch's, where it is installed.

All in float64, so that a difference is a formula and not rounding.
"""

import math

import numpy as np
import pytest
from records import RECORDS, ROWS

from autograd import Tensor
from nn import SGD, AdamW, clip_grad_norm
from tinygpt import GPTConfig, TinyGPT

torch = pytest.importorskip("torch", reason="compares with PyTorch: pip install torch")
tF = torch.nn.functional


def axes(axis, ndim):
    """The axes that a NumPy `axis` names, from the last to the first."""
    named = range(ndim) if axis is None else np.atleast_1d(axis).tolist()
    return sorted((i % ndim for i in named), reverse=True)


def reduction(function):
    """A PyTorch reduction with NumPy's names for its options."""

    def reduce(x, axis=None, keepdims=False, ddof=0):
        more = {"correction": ddof} if function in (torch.var, torch.std) else {}
        return function(x, dim=axes(axis, x.ndim), keepdim=keepdims, **more)

    return reduce


def prod(x, axis=None, keepdims=False):
    for i in axes(axis, x.ndim):  # torch.prod reduces one axis at a time
        x = torch.prod(x, i, keepdims)
    return x


def expand_dims(x, axis):
    for i in reversed(axes(axis, x.ndim + np.size(axis))):
        x = torch.unsqueeze(x, i)
    return x


def pad(x, pad_width, constant_values=0):
    widths = np.broadcast_to(pad_width, (x.ndim, 2))[::-1]  # PyTorch begins with the last axis
    return tF.pad(x, widths.ravel().tolist(), value=constant_values)


def getitem(x, index):
    parts = index if isinstance(index, tuple) else (index,)
    parts = (np.array(i, int) if isinstance(i, list) and not i else i for i in parts)
    return x[tuple(torch.tensor(i) if isinstance(i, (list, np.ndarray)) else i for i in parts)]


def scatter(x, index, shape):
    picks = np.arange(math.prod(shape)).reshape(shape)[index]  # in the flattened array
    zeros, values = torch.zeros(math.prod(shape), dtype=x.dtype), torch.broadcast_to(x, picks.shape)
    return zeros.index_add(0, torch.tensor(picks.ravel()), values.ravel()).reshape(shape)


def take(x, indices, axis=None):
    if axis is None:
        return torch.take(x, torch.tensor(indices))
    return getitem(x, (slice(None),) * (axis % x.ndim) + (indices,))


def take_along_axis(x, indices, axis=-1):
    n = x.numel() if axis is None else x.shape[axis]  # PyTorch counts none from the end
    return torch.take_along_dim(x, torch.tensor(indices % n), axis)


def attention(q, k, v, mask=None, causal=False, scale=None):
    mask = None if mask is None else torch.tensor(mask)
    T, S = q.shape[-2], k.shape[-2]
    if causal:  # is_causal allows no mask beside it, and is another mask where T < S
        visible = torch.ones(T, S, dtype=torch.bool).tril(S - T)
        mask = visible if mask is None else mask & visible
    return tF.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def causal_attention(qkv, n_head, scale=None):
    heads = qkv.unflatten(-1, (3, n_head, -1))
    q, k, v = (heads[..., i, :, :].transpose(-3, -2) for i in range(3))
    return attention(q, k, v, causal=True, scale=scale).transpose(-3, -2).flatten(-2)


def grouped_attention(q, k, v, scale=None):
    q, k, v = (x.transpose(-3, -2) for x in (q, k, v))
    y = tF.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
    return y.transpose(-3, -2)


def rotary(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    z = torch.complex(a, b) * torch.complex(torch.tensor(cos), torch.tensor(sin))
    return torch.cat([z.real, z.imag], dim=-1)


def cross_entropy(logits, targets, ignore_index=-100):
    rows, picks = logits.reshape(-1, logits.shape[-1]), torch.tensor(targets.ravel())
    return tF.cross_entropy(rows, picks, ignore_index=ignore_index)


# PyTorch's counterpart of every op; of dropout there is none that takes the mask from outside.
SAME_NAME = """abs add cos divide erf exp expm1 log log1p matmul maximum minimum multiply negative
    relu sigmoid sin sqrt subtract tanh""".split()
TORCH = {
    **{name: getattr(torch, name) for name in SAME_NAME},
    **{name: reduction(getattr(torch, name)) for name in "logsumexp mean std sum var".split()},
    "power": torch.pow,
    "clip": lambda x, a_min, a_max: torch.clip(x, a_min, a_max),
    "where": lambda x, y, condition: torch.where(torch.tensor(condition), x, y),
    "astype": lambda x, dtype: x.to(getattr(torch, dtype.__name__)),
    "max": reduction(torch.amax),
    "min": reduction(torch.amin),
    "prod": prod,
    "cumsum": lambda x, axis=None: torch.cumsum(x.ravel() if axis is None else x, axis or 0),
    "norm": reduction(torch.linalg.vector_norm),
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "layer_norm": lambda x, *wb, eps=1e-5: tF.layer_norm(x, x.shape[-1:], *wb, eps=eps),
    "reshape": lambda x, shape: torch.reshape(x, (shape,) if shape == -1 else shape),
    "transpose": lambda x, axes=None: torch.permute(x, axes or tuple(range(x.ndim))[::-1]),
    "swapaxes": lambda x, axis1, axis2: torch.swapaxes(x, axis1, axis2),
    "expand_dims": expand_dims,
    "squeeze": lambda x, **axis: torch.squeeze(x, *axis.values()),
    "broadcast_to": lambda x, shape: torch.broadcast_to(x, shape),
    "concatenate": lambda *xs, axis: torch.cat(
        [x.ravel() for x in xs] if axis is None else xs, axis or 0
    ),
    "stack": lambda *xs, axis=0: torch.stack(xs, axis),
    "split": lambda x, parts, pick, axis=0: torch.tensor_split(x, parts, axis)[pick],
    "pad": pad,
    "getitem": getitem,
    "scatter": scatter,
    "take": take,
    "take_along_axis": take_along_axis,
    "linear": lambda x, weight, bias=None: tF.linear(x, weight.T, bias),
    "embedding": lambda weight, ids: tF.embedding(torch.tensor(ids), weight),
    "gelu": lambda x, approximate="tanh": tF.gelu(x, approximate=approximate),
    "attention": attention,
    "causal_attention": causal_attention,
    "grouped_attention": grouped_attention,
    "rms_norm": lambda x, weight, eps=1e-5: tF.rms_norm(x, x.shape[-1:], weight, eps),
    "rotary": rotary,
    "swiglu": lambda gate, up: tF.silu(gate) * up,
    "checkpoint_activations": lambda x: x * torch.tanh(x),
    "share_batch": lambda x: 0.25 * (x * x).sum() + 0.75 * torch.sin(x).sum(),
    "softplus": tF.softplus,
    "silu": tF.silu,
    "mse_loss": tF.mse_loss,
    "huber_loss": tF.huber_loss,
    "binary_cross_entropy_with_logits": tF.binary_cross_entropy_with_logits,
    "conv2d": tF.conv2d,
    "max_pool2d": lambda x, size: tF.max_pool2d(x[(None,) * (4 - x.ndim)], size)[
        (0,) * (4 - x.ndim)
    ],
    "avg_pool2d": lambda x, size: tF.avg_pool2d(x[(None,) * (4 - x.ndim)], size)[
        (0,) * (4 - x.ndim)
    ],
    "linear_cross_entropy": lambda x, weight, *args, **options: cross_entropy(
        x @ weight.T, *args, **options
    ),
    "cross_entropy": cross_entropy,
}


def differs(record, case):
    """What PyTorch cannot do, or does in another way."""
    options = case.options
    index = options.get("index") if record.name == "getitem" else None
    parts = index if isinstance(index, tuple) else (index,)
    return (
        record.name in ("dropout", "prod with zeros")
        or "dropout_mask" in options
        or options.get("axis") == ()  # stands for all axes
        or any(isinstance(i, slice) and (i.step or 1) < 0 for i in parts)
        or {int, np.ndarray} <= set(map(type, parts))  # the integers are applied first
        or (record.name == "var" and case.shapes == ((0, 3),))  # warns
        or np.all(options.get("targets") == options.get("ignore_index", -1))  # the mean is nan
    )


SHARED = [(record, case) for record, case in ROWS if not differs(record, case)]


def assert_same(fn, torch_fn, arrays):
    """The functions have the same value and, for a random cotangent, the same gradients."""
    leaves = [Tensor(x, requires_grad=True) for x in arrays]
    twins = [torch.tensor(x, requires_grad=True) for x in arrays]
    value, expected = fn(*leaves), torch_fn(*twins)
    g = np.asarray(np.random.default_rng(7).standard_normal(value.shape))
    value.backward(g)
    expected.backward(torch.tensor(g))
    pairs = [(x.grad, twin.grad) for x, twin in zip(leaves, twins, strict=True)]
    for a, b in [(value.data, expected.detach()), *pairs]:
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_every_op_has_a_counterpart():
    assert TORCH.keys() == RECORDS.keys() - {"dropout"} | {"checkpoint_activations", "share_batch"}


@pytest.mark.parametrize(
    ("record", "case"), SHARED, ids=[f"{record.name}-{case}" for record, case in SHARED]
)
def test_op(record, case):
    # The oracle of an op with a constant operand is an operator, and works on PyTorch's tensors.
    torch_fn = record.oracle if case.options.keys() & {"x", "y"} else TORCH[record.name]
    assert_same(
        lambda *xs: record.fn(*xs, **case.options),
        lambda *xs: torch_fn(*xs, **case.options),
        record.draw(case),
    )


@pytest.mark.parametrize(
    "name", "abs relu norm std max min prod maximum minimum power clip".split()
)
def test_convention_at_kinks_and_ties(name):
    arrays = [np.zeros((2, 2))] * (2 if name in ("maximum", "minimum", "power") else 1)
    bounds = {"a_min": 0, "a_max": 1} if name == "clip" else {}
    assert_same(
        lambda *xs: RECORDS[name].fn(*xs, **bounds),
        lambda *xs: TORCH[name](*xs, **bounds),
        arrays,
    )


def torch_loss(config, weights, positions, ids, targets):
    """The loss of a TinyGPT, in PyTorch's own ops."""
    c, w = config, weights

    def linear(x, name):
        return tF.linear(x, w[f"{name}.weight"].T, w.get(f"{name}.bias"))

    def norm(x, name):
        return tF.layer_norm(x, (c.n_embd,), w[f"{name}.weight"], w.get(f"{name}.bias"))

    def attend(x, name):
        qkv = linear(x, f"{name}.qkv").unflatten(-1, (3, c.n_head, -1))  # (B, T, 3, H, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = tF.scaled_dot_product_attention(q, k, v, is_causal=True)
        return linear(y.transpose(1, 2).flatten(2), f"{name}.projection")

    def feed_forward(x, name):
        hidden = linear(x, f"{name}.expand")
        hidden = tF.relu(hidden) if c.activation == "relu" else tF.gelu(hidden, approximate="tanh")
        return linear(hidden, f"{name}.projection")

    x = w["token_embedding.weight"][ids] + positions[: ids.shape[-1]]
    for i in range(c.n_layer):
        for layer, name, n in ((attend, "attention", 1), (feed_forward, "feed_forward", 2)):
            layer_name, norm_name = f"blocks.{i}.{name}", f"blocks.{i}.norm{n}"
            if c.norm_first:
                x = x + layer(norm(x, norm_name), layer_name)
            else:
                x = norm(x + layer(x, layer_name), norm_name)
    x = norm(x, "norm") if c.norm_first else x
    logits = x @ w["token_embedding.weight"].T if c.tie_weights else linear(x, "head")
    return tF.cross_entropy(logits.flatten(0, 1), targets.flatten())


GPT2 = {}
VASWANI = {"positions": "sinusoidal", "activation": "relu", "norm_first": False,
           "tie_weights": False, "bias": True}  # fmt: skip


@pytest.mark.parametrize("options", [GPT2, VASWANI], ids=["GPT2", "VASWANI"])
def test_whole_model(options):
    rng = np.random.default_rng(0)
    config = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=12, **options)
    model = TinyGPT(config, rng).to(np.float64)
    for parameter in model.parameters():  # no zeros, and every path large enough to matter
        parameter.data += 0.2 * rng.standard_normal(parameter.shape)
    weights = {k: torch.tensor(a, requires_grad=True) for k, a in model.state_dict().items()}
    learned = config.positions == "learned"
    positions = weights["position_embedding.weight"] if learned else model.position_table
    ids, targets = rng.integers(11, size=(2, 3, 7))

    loss = model.loss(ids, targets)
    expected = torch_loss(
        config, weights, torch.as_tensor(positions), torch.tensor(ids), torch.tensor(targets)
    )
    loss.backward()
    expected.backward()
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-9)
    for name, parameter in model.named_parameters():
        a, b = parameter.grad, weights[name].grad
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=name)


def parameters_and_twins(rng):
    arrays = [rng.standard_normal(shape) for shape in [(3, 4), (2, 3, 2), (5,), ()]]
    twins = [torch.tensor(np.asarray(a)) for a in arrays]  # before ours are changed in place
    return [Tensor(a, requires_grad=True) for a in arrays], twins


def give_gradients(parameters, twins, rng):
    for p, twin in zip(parameters, twins, strict=True):
        p.grad = np.asarray(rng.standard_normal(p.shape))
        twin.grad = torch.tensor(p.grad)


def adamw(parameters, twins):
    settings = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6}
    decay = [{"params": [p], "weight_decay": 0.1 if p.ndim >= 2 else 0.0} for p in twins]
    return AdamW(parameters, weight_decay=0.1, **settings), torch.optim.AdamW(decay, **settings)


def sgd(parameters, twins):
    settings = {"lr": 0.1, "momentum": 0.9}
    return SGD(parameters, **settings), torch.optim.SGD(twins, **settings)


@pytest.mark.parametrize("both", [adamw, sgd])
def test_optimizer(both):
    rng = np.random.default_rng(0)
    parameters, twins = parameters_and_twins(rng)
    optimizers = both(parameters, twins)
    for _ in range(5):
        give_gradients(parameters, twins, rng)
        for optimizer in optimizers:
            optimizer.step()
        for p, twin in zip(parameters, twins, strict=True):
            np.testing.assert_allclose(p.data, twin, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clip_grad_norm(max_norm):
    rng = np.random.default_rng(0)
    parameters, twins = parameters_and_twins(rng)
    give_gradients(parameters, twins, rng)
    norm = clip_grad_norm(parameters, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(twins, max_norm)
    np.testing.assert_allclose(norm, expected, rtol=1e-12)
    for p, twin in zip(parameters, twins, strict=True):  # PyTorch divides by norm + 1e-6
        np.testing.assert_allclose(p.grad, twin.grad, rtol=1e-6)
