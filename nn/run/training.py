"""Training of any model with a `loss`: its settings, groups, steps and state.

The loop is in ../../tinygpt.py; crew.py computes the gradients. B sequences, T positions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Literal

import numpy as np

from ..config import check_types, option, require
from ..functional import IGNORE_INDEX
from ..optim import AdamW, Muon, flatten, warmup_cosine, warmup_linear
from .crew import Crew
from .team import Team

__all__ = ["TrainConfig", "Training"]


@dataclass
class TrainConfig:
    """How to train. docs/speedrun.md says how the defaults were found."""

    batch_size: int = option(12, "sequences in each iteration; more: steadier, and slower")
    micro_batch_size: int = option(
        0, "sequences computed at a time; fewer: less memory (default: those of about 1000 tokens)"
    )
    context: int | None = option(
        None, "tokens of each sequence in training; fewer: less memory (default block_size)"
    )
    activation_checkpointing: bool = option(
        False, "less memory, a third more time: backward computes the blocks again (default: no)"
    )
    max_iters: int = option(2000, "iterations, each with one batch")
    optimizer: Literal["muon", "adamw"] = option(
        "muon", "muon for the matrices of the blocks and adamw for the rest, or adamw for all"
    )
    muon_lr: float = option(0.015, "highest learning rate of muon; lower it if the loss jumps up")
    muon_momentum: float = 0.9
    even_rows: bool = True  # of the steps of muon
    learning_rate: float = option(
        None, "highest learning rate of adamw; lower it if the loss jumps up (default 0.004 beside "
        "muon, 0.001 alone)"
    )
    min_lr: float = option(
        None, "learning rate of adamw after the last iteration (default 0, with "
        "--schedule cosine learning_rate / 10)"
    )
    schedule: Literal["linear", "cosine", "constant"] = option(
        "linear", "learning rates after warm-up: fall evenly, along a cosine, or stay as they are"
    )
    warmup_iters: int = option(
        20, "first iterations, in which the learning rates rise; more if the loss jumps up there"
    )
    beta2: float = option(
        0.98, "how much of its mean of squared gradients adamw keeps in each iteration"
    )
    weight_decay: float = option(
        0.05, "how strongly matrices and tables are pulled to 0, times the learning rate"
    )
    grad_clip: float = option(1.0, "a gradient with a larger norm is scaled down; 0: none is")
    eval_interval: int = option(250, "iterations between two evaluations")
    eval_iters: int = option(20, "random batches in each evaluation; more: more exact, slower")
    patience: int = option(0, "stop after N evaluations without a better loss; 0: never")
    save_seconds: float = option(60.0, "seconds between two saved states: what a crash may lose")
    seed: int = option(1337, "the same seed gives the same weights and batches")

    def tokens(self, model: Any) -> int:
        """How many tokens a sequence has in training. Raises ValueError if they do not fit."""
        if self.context is not None and not 0 < self.context <= model.block_size:
            raise ValueError(
                f"context must be at least 1 and at most block_size {model.block_size}, "
                f"got {self.context}"
            )
        return self.context or model.block_size

    def __post_init__(self):
        check_types(self)
        if self.learning_rate is None:
            self.learning_rate = 4e-3 if self.optimizer == "muon" else 1e-3
        if self.min_lr is None:
            self.min_lr = 0.1 * self.learning_rate if self.schedule == "cosine" else 0.0
        require(self, "batch_size max_iters eval_interval eval_iters", 1)
        require(self, "learning_rate min_lr warmup_iters weight_decay grad_clip seed", 0)
        require(self, "micro_batch_size patience save_seconds muon_lr", 0)
        require(self, "beta2 muon_momentum", 0, below=1)

    def rate(self, iteration: int) -> float:
        """The learning rate of AdamW in an iteration."""
        end = self.learning_rate if self.schedule == "constant" else self.min_lr
        fall = warmup_cosine if self.schedule == "cosine" else warmup_linear
        return fall(iteration, self.max_iters, self.learning_rate, end, self.warmup_iters)


class Training:
    """A model in training: all that its next iteration depends on, and its evaluations so far.

    An iteration is: take a generator from `rng()`, draw a batch with it, then call `backward`,
    `clip`, `check` and `step`. The random numbers depend only on the seed and the iteration, so
    that no random state and no position in the data has to be saved. `model` is a LanguageModel;
    weights that do not require gradients are left as they are.

    To train one model with several processes, rank 0 calls `lead` and goes on as if it were alone,
    while the others call `follow`. Each has the whole model, and makes the same steps.
    """

    def __init__(self, model: Any, config: TrainConfig):
        self.model, self.config, self.iteration = model, config, 0
        if hasattr(model, "activation_checkpointing"):
            model.activation_checkpointing = config.activation_checkpointing
        elif config.activation_checkpointing:
            raise ValueError("activation_checkpointing: this model cannot compute its blocks again")
        decay = config.weight_decay
        matrices = _trained_groups(model.matrices()) if config.optimizer == "muon" else []
        self.muon = Muon(
            matrices, config.muon_lr, momentum=config.muon_momentum, even_rows=config.even_rows,
            weight_decay=decay,
        )  # fmt: skip
        moved = {id(p) for p in self.muon.parameters}
        others = [p for p in model.parameters() if p.requires_grad and id(p) not in moved]
        decayed = [p for p in others if p.ndim >= 2]
        plain = [p for p in others if p.ndim < 2]
        parts = [_flattened(ps) for ps in (decayed, plain, self.muon.parameters)]
        self.vectors = [vector for part in parts for vector in part]  # all that is trained
        self.adamw = AdamW(
            [{"params": parts[0], "weight_decay": decay}, {"params": parts[1], "weight_decay": 0}],
            betas=(0.9, config.beta2),
        )
        self.evaluations: list[list[float]] = []  # [iteration, validation loss]
        self._scattered = False  # whether each process knows only its own part of Muon's moments
        parameters = [*decayed, *plain, *self.muon.parameters]
        self.crew = Crew(model, config.micro_batch_size, parameters, self.vectors, self.rng)
        self.crew.draw_from(np.random.default_rng(config.seed))

    @property
    def team(self) -> Team:
        """The processes that train this model."""
        return self.crew.team

    def rng(self, thread: int = 0) -> np.random.Generator:
        """A generator for this iteration; each process and each thread has its own."""
        rank = self.team.rank
        key = (rank, thread) if thread else (rank,) if rank else ()
        seed = np.random.SeedSequence((self.config.seed, self.iteration), spawn_key=key)
        return np.random.default_rng(seed)

    # Rank 0 calls these methods; then all processes do the work.

    def backward(
        self, ids: np.ndarray, targets: np.ndarray, rng: np.random.Generator | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> float:  # fmt: skip
        """Forward and backward on a batch (B, T): sets all gradients, returns the loss.

        All threads and processes take part. With `rng`, from which the batch was drawn, this begins
        an iteration: in training mode, with dropout from rng. Without `rng` it is a trial that
        leaves the mode as it is.
        """
        if rng is not None:
            self.crew.draw_from(rng)
        begin = rng is not None
        return self.team.together(self, "crew.gradients", ids, targets, ignore_index, begin)

    def clip(self) -> float:
        """Scale the gradients so that their norm is at most grad_clip; returns the norm before."""
        return self.team.together(self, "crew.clip", self.config.grad_clip or math.inf)

    def step(self) -> None:
        """Move the weights, with the learning rates of this iteration."""
        self.team.together(self, "_step")

    def _step(self):
        c, team = self.config, self.team
        self.adamw.lr = c.rate(self.iteration)
        end = 0.1 if c.schedule == "cosine" else 0.0
        like = c if c.learning_rate else replace(c, learning_rate=1.0, min_lr=end)
        self.muon.lr = c.muon_lr * like.rate(self.iteration) / like.learning_rate
        self.adamw.step()
        self.muon.step(team.rank, team.size)  # takes long: each process does a part
        team.exchange(p.data for p in self.muon.parameters)
        self._scattered = team.size > 1
        self.iteration += 1

    def loss(self, batches: list[tuple[np.ndarray, np.ndarray]]) -> float:
        """The mean loss of batches (ids, targets), without dropout."""
        return self.team.together(self, "crew.loss", batches)

    def lead(self, team: Team) -> None:
        """On rank 0: train together with the other processes of a team from here on."""
        self.crew.team = team
        team.together(self, "_copy", self.state()[1])

    def follow(self, team: Team) -> None:
        """On the other ranks: do what rank 0 does with its Training, until rank 0 is done."""
        self.crew.team = team
        self.crew.draw_from(self.rng())
        while request := team.receive():
            name, arguments = request
            attrgetter(name)(self)(*arguments)

    def _copy(self, header):
        """Take over the state of rank 0."""
        arrays, _ = self.state()
        for array in arrays.values():
            self.team.copy(array)
        self.restore(arrays, header)

    # Checks.

    def check(self, loss: float, norm: float = 0.0) -> None:
        """Raises ValueError if a loss, or the norm of its gradient, is nan or infinite."""
        if not math.isfinite(loss + norm):
            raise ValueError(
                f"training diverged at iteration {self.iteration}: the loss is {loss}, the norm of "
                f"its gradient {norm}; what was saved before is untouched. {self.remedy()}"
            )

    def remedy(self) -> str:
        """What to try after a training that diverged, in words."""
        c = self.config
        muon = f" or --muon-lr than {c.muon_lr:g}" if c.optimizer == "muon" else ""
        return (
            f"Try a lower --learning-rate than {c.learning_rate:g}{muon}, more --warmup-iters than "
            f"{c.warmup_iters}, or --grad-clip 1"
        )

    def check_weights(self) -> None:
        """Raises ValueError if the weights are not the same bits in all processes."""
        checksums = self.team.together(self, "crew.checksums")
        wrong = [str(rank) for rank, one in enumerate(checksums) if one != checksums[0]]
        if wrong:
            raise ValueError(
                f"after iteration {self.iteration} the weights of process {', '.join(wrong)} are "
                "not those of process 0, as they should be; what was saved before is untouched. "
                "Use machines of one kind with the same libraries, and go on with --resume"
            )

    # The state.

    @property
    def best(self) -> list[float] | None:
        """The evaluation with the lowest loss: [iteration, loss]."""
        return min(self.evaluations, key=lambda pair: pair[1], default=None)

    @property
    def finished(self) -> bool:
        """Whether max_iters are done, or the last `patience` evaluations were no better."""
        best = self.best
        since = [i for i, _ in self.evaluations if best and i > best[0]]
        patience = self.config.patience
        return self.iteration >= self.config.max_iters or 0 < patience <= len(since)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """The arrays and the strings with which `restore` goes on, to the same bits."""
        if self._scattered:
            self.team.together(self, "_gather_moments")
        arrays = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        arrays |= {f"adamw.{k}": v for k, v in self.adamw.state_dict().items()}
        arrays |= {f"muon.{k}": v for k, v in self.muon.state_dict().items()}
        done = {"iteration": self.iteration, "evaluations": self.evaluations}
        return arrays, {"done": json.dumps(done)}

    def _gather_moments(self):
        state = self.muon.state_dict()
        for name in ("mean", "squares"):
            self.team.exchange(array for key, array in state.items() if key.endswith(name))
        self._scattered = False

    def restore(self, arrays: dict[str, np.ndarray], header: dict[str, str]) -> None:
        """Go on from a state()."""
        self.model.load_state_dict(_without_prefix("model.", arrays))
        self.adamw.load_state_dict(_without_prefix("adamw.", arrays))
        self.muon.load_state_dict(_without_prefix("muon.", arrays))
        done = json.loads(header["done"])
        self.iteration, self.evaluations = done["iteration"], done["evaluations"]


def _trained_groups(matrices):
    """Groups for Muon, with only those of the matrices that require gradients."""
    matrices = list(matrices)
    groups = matrices if matrices and isinstance(matrices[0], Mapping) else [{"params": matrices}]
    return [{**g, "params": [p for p in g["params"] if p.requires_grad]} for g in groups]


_LARGE = 1 << 20  # a parameter with so many entries keeps a gradient array of its own


def _flattened(parameters):
    """The parameters as one vector, except large ones, which stay apart.

    The gradient of a large one is freed after its use, and its memory serves the activations of
    the next iteration. As a part of a vector, the gradient would never be freed.
    """
    small = [p for p in parameters if p.size < _LARGE]
    return [*([flatten(small)] if small else []), *(p for p in parameters if p.size >= _LARGE)]


def _without_prefix(prefix, arrays):
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
