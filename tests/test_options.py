"""Options of all kinds: values of another type, numbers of NumPy's; and logits of no use."""

import functools
import itertools
import json
import math
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
from common import RNG, small

import nn.sampling
import tinygpt
from autograd import Tensor
from nn.config import check_types
from nn.sampling import Sampling
from tinygpt import GPTConfig, TrainConfig

# ---------------------------------------------------------------- the types of options

GPT = functools.partial(GPTConfig, 8)
OPTIONS = {  # {an option: what has it, and its type}
    "n_layer": (GPT, int), "d_ff": (GPT, int), "eps": (GPT, float), "bias": (GPT, bool),
    "dropout": (GPT, float), "max_iters": (TrainConfig, int), "seed": (TrainConfig, int),
    "learning_rate": (TrainConfig, float), "activation_checkpointing": (TrainConfig, bool),
    "top_k": (Sampling, int), "temperature": (Sampling, float), "min_p": (Sampling, float),
}  # fmt: skip
WHOLE = [3, 3.0, np.int8(3), np.int64(3), np.uint16(3), np.float32(3), np.float64(3), Fraction(3)]
PARTS = [0.5, np.float16(0.5), np.float32(0.5), np.float64(0.5), Fraction(1, 2)]
NO_NUMBERS = [
    "3",
    "x",
    [3],
    (3,),
    {},
    {3},
    np.array(3),
    np.array([3]),
    3j,
    b"3",
    object(),
    GPTConfig,
]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_number_is_the_same_in_any_type(name):
    make, kind = OPTIONS[name]
    values = {int: WHOLE, float: PARTS, bool: [True, np.True_]}[kind]
    for value in values:
        made = make(**{name: value})
        assert getattr(made, name) == values[0]
        assert type(getattr(made, name)) in (kind, type(values[0]))
        json.dumps(asdict(made))  # as a run writes it to its files


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_another_type(name):
    make, kind = OPTIONS[name]
    what = {int: "a whole number", float: "a number", bool: "true or false"}[kind]
    wrong = [*NO_NUMBERS, *({int: [2.5, np.float32(2.5), math.nan, math.inf], bool: [0, 1, 1.0],
                             float: []}[kind])]  # fmt: skip
    for value in wrong + ([] if kind is bool else [True, np.False_, 10**400, -(10**400)]):
        with pytest.raises(ValueError, match=f"^{name} must be {what}, got "):
            make(**{name: value})


@pytest.mark.parametrize("value", [1, None, True, ["gelu"], "gel", np.array(["gelu", "relu"])])
def test_a_choice_of_another_type(value):
    with pytest.raises(ValueError, match=r"^activation must be gelu or gelu_erf or relu or silu"):
        GPTConfig(8, activation=value)


@dataclass
class Other:
    """A config with fields of more types, as another class of models may have one."""

    sizes: list[int] = field(default_factory=list)
    either: int | str = 0
    number: int | float = 0
    few: Literal[1, 2] = 1
    free: Any = None


def test_fields_of_other_types_are_left_alone():
    for name, value in (("sizes", [1, 2]), ("either", "x"), ("number", 0.5), ("few", 2),
                        ("free", [])):  # fmt: skip
        other = Other(**{name: value})
        check_types(other)
        assert getattr(other, name) is value
    with pytest.raises(ValueError, match=r"^few must be 1 or 2, got '1'"):
        check_types(Other(few="1"))
    with pytest.raises(ValueError, match=r"^number must be a number, got 'x'"):
        check_types(Other(number="x"))


def test_an_option_may_be_left_out():
    assert GPTConfig(8, d_ff=None).d_ff == 512 and Sampling(top_k=None).top_k is None
    assert TrainConfig(learning_rate=None).learning_rate == 0.004
    for name in ("n_layer", "eps", "bias"):
        with pytest.raises(ValueError, match=f"^{name} must be .*, got None"):
            GPTConfig(8, **{name: None})


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf, np.float32("nan"), -math.inf])
def test_numbers_out_of_range(value):
    for make, name, limit in ((GPT, "eps", "below 1"), (TrainConfig, "learning_rate", "finite")):
        with pytest.raises(ValueError, match=f"^{name} must be at least 0 and {limit}, got "):
            make(**{name: value})


# ---------------------------------------------------------------- logits that are not finite

NAN, INF = math.nan, math.inf
WRONG = [
    ([NAN, 0, 1], "nan for a token"), ([NAN, NAN, NAN], "nan for a token"),
    ([INF, 0, 1], "inf for a token"), ([INF, INF, INF], "inf for a token"),
    ([INF, -INF, 0], "inf for a token"), ([NAN, INF, -INF], "nan for a token"),
    ([NAN, -INF, -INF], "nan for a token"), ([-INF, -INF, -INF], "-inf for every token"),
]  # fmt: skip
WAYS = [
    {}, {"temperature": 0}, {"temperature": 1e-300}, {"top_k": 1}, {"top_k": 2}, {"top_p": 0.5},
    {"min_p": 0.5}, {"repetition_penalty": 2.0}, {"repetition_penalty": 0.5, "temperature": 0},
    {"top_k": 2, "top_p": 0.9, "min_p": 0.1},
]  # fmt: skip


class Fixed:
    """A model whose logits are always the same."""

    training, config = False, GPTConfig(3)

    def __init__(self, row):
        self.row = np.array(row, np.float32)

    def __call__(self, ids):
        return Tensor(np.broadcast_to(self.row, (*np.shape(ids), 3)))


@pytest.mark.parametrize(("row", "what"), WRONG, ids=str)
@pytest.mark.parametrize("options", WAYS, ids=str)
def test_logits_that_are_not_finite_are_refused(row, what, options):
    expected = f"^the model gives {what}: its training has diverged"
    draw, before = Sampling(**options).draw, [0, 1]
    for dtype, rows in itertools.product(["f2", "f4", "f8"], [[row], [[0, 1, 2], row]]):
        with pytest.raises(ValueError, match=expected):
            draw(np.array(rows, dtype), RNG(0), [before] * len(rows))
    for generate in (
        lambda: nn.sampling.generate(Fixed(row), [0, 1], 2, **options),
        lambda: nn.sampling.generate(Fixed(row), [[0], [0, 1]], 2, **options),
        lambda: next(nn.sampling.stream(Fixed(row), [0, 1], 2, **options)),
        lambda: tinygpt.generate(Fixed(row), [0, 1], 2, Sampling(**options), RNG(0)),
    ):
        with pytest.raises(ValueError, match=expected):
            generate()


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_minus_infinity_is_a_token_that_cannot_be_drawn(options):
    for row in ([-INF, 0, -INF], [-INF, -1e30, -INF]):
        logits = np.tile(np.array(row, np.float32), (50, 1))
        assert set(Sampling(**options).draw(logits, RNG(0), [[0, 1]] * 50).tolist()) == {1}
    drawn = nn.sampling.generate(Fixed([-INF, 0, 0]), [1] * 4, 40, rng=RNG(0), **options)
    assert 0 not in drawn


def test_a_penalty_that_makes_logits_infinite():
    draw = Sampling(repetition_penalty=1e-320).draw
    with pytest.raises(
        ValueError, match=r"^the repetition_penalty 1e-320 gives inf for a token: take"
    ):
        draw(np.array([[1.0, 0.5]], np.float32), RNG(0), [[0]])
    draw = Sampling(repetition_penalty=1e300).draw
    assert draw(np.array([[-1.0, -2.0]], np.float32), RNG(0), [[0]]).tolist() == [1]


def test_a_model_with_weights_that_are_not_finite():
    for value, what in ((NAN, "nan for a token"), (INF, "(nan|inf) for a token")):
        model = small()
        model.norm.weight.data[:] = value
        with (
            np.errstate(all="ignore"),
            pytest.raises(ValueError, match=f"the model gives {what}"),
        ):
            model.generate([1, 2], 3, temperature=0)


def test_only_allowed_tokens_are_drawn():
    allowed = np.array([True, False, True])
    for options in WAYS:
        drawn = nn.sampling.generate(
            Fixed([0, 9, 0]), [[2], [2, 0]], 20, rng=RNG(0), allowed=allowed, **options
        )
        assert all(1 not in row for row in drawn)
    with pytest.raises(ValueError, match="-inf for every token"):
        nn.sampling.generate(Fixed([0, 9, 0]), [2], 2, allowed=np.zeros(3, bool))
