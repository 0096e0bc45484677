"""Training of any model with a `loss`: one iteration, its settings, its state; evaluation.

The loop around it is in ../tinygpt.py. B sequences, T positions.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import math
import os
import signal
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autograd import no_grad

from .layers import Dropout
from .optim import AdamW, Muon, clip_grad_norm, flatten, warmup_cosine
from .parallel import Team
from .threads import in_threads, threads_for

__all__ = [
    "CHOICES", "DERIVED", "TrainConfig", "Training", "accumulate_gradients", "interrupts",
    "machine_memory", "mean_loss", "parts_of", "random_batch", "require", "sequences_at_once",
    "threads_for",
]  # fmt: skip


# ---------------------------------------------------------------- one iteration


def require(config: Any, names: str, low: float, below: float = math.inf) -> None:
    """Fields of a config within bounds, or ValueError that names the field."""
    for name in names.split():
        value = getattr(config, name)
        if not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number, got {value!r}")
        if not low <= value < below:  # nan is not
            limit = f"below {below}" if below < math.inf else "finite"
            raise ValueError(f"{name} must be at least {low} and {limit}, got {value}")


@dataclass
class TrainConfig:
    """How to train; the defaults are nanoGPT's for a CPU, but for the recipe."""

    batch_size: int = 12
    micro_batch_size: int = 0  # sequences at once, to save memory; 0: some thousand tokens
    activation_checkpointing: bool = False  # for memory: blocks are computed again in backward
    max_iters: int = 2000
    optimizer: str = "muon"  # for the matrices of the blocks, beside AdamW; or "adamw" for all
    muon_lr: float = 0.02
    learning_rate: float | None = None  # of AdamW: 0.004 beside Muon, 0.001 alone
    min_lr: float | None = None  # where the schedule ends: a tenth of learning_rate
    schedule: str = "cosine"  # or "constant"
    warmup_iters: int = 100
    beta2: float = 0.99
    weight_decay: float = 0.1
    grad_clip: float = 1.0  # 0: none
    eval_interval: int = 250
    eval_iters: int = 20
    patience: int = 0  # evaluations without a better one before it stops; 0: never
    save_seconds: float = 60.0
    seed: int = 1337

    def __post_init__(self):
        if self.learning_rate is None:
            self.learning_rate = 4e-3 if self.optimizer == "muon" else 1e-3
        if self.min_lr is None:
            self.min_lr = 0.1 * self.learning_rate
        require(self, "batch_size max_iters eval_interval eval_iters", 1)
        require(self, "learning_rate min_lr warmup_iters weight_decay grad_clip seed", 0)
        require(self, "micro_batch_size patience save_seconds muon_lr", 0)
        require(self, "beta2", 0, below=1)
        for name, values in CHOICES.items():
            if getattr(self, name) not in values:
                either = " or ".join(values)
                raise ValueError(f"{name} must be {either}, got {getattr(self, name)!r}")

    def rate(self, iteration: int) -> float:
        """The learning rate of an iteration."""
        end = self.learning_rate if self.schedule == "constant" else self.min_lr
        return warmup_cosine(iteration, self.max_iters, self.learning_rate, end, self.warmup_iters)


DERIVED = {
    "d_ff": "4 * n_embd",
    "activation_checkpointing": "less memory for more time: backward computes the blocks again",
    "micro_batch_size": "some 1000 tokens at a time",
    "learning_rate": "of AdamW: 0.004 beside muon, 0.001 alone",
    "min_lr": "learning_rate / 10",
}
CHOICES = {"schedule": ("cosine", "constant"), "optimizer": ("muon", "adamw")}


def random_batch(
    tokens: Any, T: int, B: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """B random windows (B, T) of a text, and the same one token later."""
    windows = tokens[rng.integers(len(tokens) - T, size=(B, 1)) + np.arange(T + 1)]
    return windows[:, :-1], windows[:, 1:]


def accumulate_gradients(
    model: Any, ids: np.ndarray, targets: np.ndarray, rows: int = 0, ignore_index: int = -100,
    rank: int = 0, size: int = 1,
) -> float:  # fmt: skip
    """model.loss(ids, targets), its gradients added up from parts of `rows` sequences.

    A part counts by the tokens it has: the sum is the gradient of the mean over the whole batch,
    also the sum over the ranks of `size` processes.
    """
    loss = 0.0
    for part_ids, part_targets, share in parts_of(ids, targets, rows, ignore_index, rank, size):
        part = model.loss(part_ids, part_targets, ignore_index) * share
        part.backward()
        loss += part.item()
    return loss


def parts_of(
    ids: np.ndarray, targets: np.ndarray, rows: int, ignore_index: int = -100,
    rank: int = 0, size: int = 1,
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:  # fmt: skip
    """A batch in parts of `rows` sequences, with the share of targets of each.

    0 rows are as many as `sequences_at_once` says. Of `size` processes each has its own part of
    the batch, of as many sequences as the others or one more.
    """
    begin, end = len(ids) * rank // size, len(ids) * (rank + 1) // size
    rows = rows or sequences_at_once(max(1, end - begin), ids.shape[1])
    total = max(1, int((targets != ignore_index).sum()))
    for i in range(begin, end, rows):
        part = slice(i, min(end, i + rows))
        share = float((targets[part] != ignore_index).sum() / total)
        yield ids[part], targets[part], share


def sequences_at_once(B: int, T: int) -> int:
    """How many of B sequences of T tokens to work on at a time: of some 1000 tokens.

    More take more memory, fewer take more time.
    """
    return -(-B // max(1, B * T // 1024))


class Training:
    """A model in training: all that its next iteration depends on, and what came before.

    The random numbers of an iteration are drawn from the seed and its number alone: there is no
    random state, and no position in the data, that could be lost.

    Threads share a batch by copies of the model that have its weights (what else a model keeps is
    then each copy's own). Weights that do not require gradients are left as they are.

    Several processes train one model if that of rank 0 calls `lead`, and goes on as if it were
    alone, while the others `follow`. Each has all of the model, and takes the same steps with it.
    """

    def __init__(self, model: Any, config: TrainConfig):
        self.model, self.config, self.iteration = model, config, 0
        model.activation_checkpointing = config.activation_checkpointing
        matrices, decayed, others = {1: [], 3: []}, [], []
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        for name, p in trained:
            if config.optimizer == "muon" and name.startswith("blocks.") and p.ndim == 2:
                matrices[3 if name.endswith("qkv.weight") else 1].append(p)
            else:
                (decayed if p.ndim >= 2 else others).append(p)
        groups = [{"params": ps, "split": n} for n, ps in matrices.items()]
        self.muon = Muon(groups, config.muon_lr, weight_decay=config.weight_decay)
        self.parameters = [*decayed, *others, *self.muon.parameters]
        parts = [_flattened(ps) for ps in (decayed, others, self.muon.parameters)]
        self.vectors = [vector for part in parts for vector in part]  # all there is to train
        groups = [
            {"params": parts[0], "weight_decay": config.weight_decay},
            {"params": parts[1], "weight_decay": 0.0},
        ]
        self.adamw = AdamW(groups, betas=(0.9, config.beta2))
        self._arrays = [p.data for p in self.parameters]
        self.evaluations: list[list[float]] = []  # [iteration, validation loss]
        self.team, self.stopped = Team(), False  # by a signal that another process has caught
        self._scattered = False  # whether each process knows the moments of its part alone
        self._replicas = [_Replica(model)]  # one for each thread, the first is the model itself
        self._most_threads = math.inf
        self._replicas[0].draw_from(np.random.default_rng(config.seed))

    def _rng(self, thread=0):
        """The random numbers of an iteration; each rank and each thread has its own."""
        key = (self.team.rank, thread) if thread else (self.team.rank,) if self.team.rank else ()
        seed = np.random.SeedSequence((self.config.seed, self.iteration), spawn_key=key)
        return np.random.default_rng(seed)

    def _threads(self, ids):
        """The replicas that are to share a batch, and how many sequences each takes at a time."""
        c, share, T = self.config, -(-len(ids) // self.team.size), ids.shape[1]
        threads = threads_for(sum(v.size for v in self.vectors), share, T)
        threads = min(threads, self._most_threads)
        while len(self._replicas) < threads:
            try:
                self._replicas.append(_Replica(_copied(self.model)))
            except TypeError:  # it holds what cannot be copied, such as an open file
                threads = self._most_threads = 1
                break
            self._replicas[-1].draw_from(self._rng(len(self._replicas) - 1))
        for replica in self._replicas:
            if replica.model.training != self.model.training:
                replica.model.train(self.model.training)
        rows = c.micro_batch_size or sequences_at_once(share, T)
        return self._replicas[:threads], -(-rows // threads)

    def step(self, next_batch: Callable, ignore_index: int = -100) -> dict[str, float]:
        """One iteration on next_batch(rng), a pair (ids, targets); returns its figures."""
        rng = self._rng()
        ids, targets = next_batch(rng)
        self._replicas[0].draw_from(rng)
        loss, norm = self.team.together(self, "_step", ids, targets, ignore_index)
        self.check(loss, norm)
        return {"loss": loss, "learning_rate": self.adamw.lr, "grad_norm": norm}

    def _step(self, ids, targets, ignore_index):
        c = self.config
        for thread, replica in enumerate(self._replicas):
            if thread or self.team.rank:
                replica.draw_from(self._rng(thread))
        if not self.model.training:
            self.model.train()
        loss, norm = self._gradients(ids, targets, ignore_index)
        if math.isfinite(loss + norm):
            self.adamw.lr = c.rate(self.iteration)
            self.muon.lr = c.muon_lr * self.adamw.lr / (c.learning_rate or 1)
            self.adamw.step()
            self.muon.step(self.team.rank, self.team.size)  # takes long: each does a part
            self.team.exchange(p.data for p in self.muon.parameters)
            self._scattered = self.team.size > 1
            self.iteration += 1
        return loss, norm

    def gradients(
        self, ids: np.ndarray, targets: np.ndarray, ignore_index: int = -100
    ) -> tuple[float, float]:
        """Set the gradients of a batch, clipped; returns its loss and their norm before that."""
        return self.team.together(self, "_gradients", ids, targets, ignore_index)

    def _gradients(self, ids, targets, ignore_index):
        team, (replicas, rows) = self.team, self._threads(ids)
        self._check_arrays()

        def share(n):
            with np.errstate(all="ignore"):  # what overflows is seen in the loss, or in the norm
                return replicas[n].gradients(
                    ids, targets, rows, ignore_index,
                    team.rank * len(replicas) + n, team.size * len(replicas),
                )  # fmt: skip

        losses = in_threads([functools.partial(share, n) for n in range(len(replicas))])
        for p in self.parameters:
            if p.grad is None:  # the loss, or the share of this thread, does not depend on it
                p.grad = np.zeros_like(p.data) if p.grad_buffer is None else p.grad_buffer
                p.grad.fill(0)
        for replica in replicas[1:]:
            replica.add_to(replicas[0])
        figures = np.array([sum(losses), len(team.caught)])
        team.sum(figures)
        for vector in self.vectors:
            team.sum(vector.grad)
        self.stopped = bool(figures[1])
        with np.errstate(all="ignore"):
            norm = clip_grad_norm(self.vectors, self.config.grad_clip or math.inf)
        return float(figures[0]), norm

    def _check_arrays(self):
        if any(p.data is not a for p, a in zip(self.parameters, self._arrays, strict=True)):
            raise ValueError(
                "the weights of the model were replaced since Training was made (by .to(), by "
                "loading with assign=True, or by another Training), and would not be trained: make "
                "Training after that"
            )

    def loss(self, batches: list[tuple[np.ndarray, np.ndarray]]) -> float:
        """The mean loss of batches (ids, targets), without dropout."""
        return self.team.together(self, "_loss", batches)

    @no_grad()
    def _loss(self, batches):
        rows, team, total = self.config.micro_batch_size, self.team, 0.0
        self.model.eval()
        for batch in batches:
            for ids, targets, share in parts_of(*batch, rows, rank=team.rank, size=team.size):
                total += self.model.loss(ids, targets).item() * share
        figures = np.array(total)
        team.sum(figures)
        return float(figures) / len(batches)

    def lead(self, team: Team) -> None:
        """From here on train with the others of a team; in the process of rank 0."""
        self.team = team
        team.together(self, "_copy", self.state()[1])

    def follow(self, team: Team) -> None:
        """Do what that of rank 0 does with its training, until it is done; in all others."""
        self.team = team
        self._replicas[0].draw_from(self._rng())
        while request := team.receive():
            name, arguments = request
            getattr(self, name)(*arguments)

    def _copy(self, header):
        """Begin with the state of rank 0."""
        arrays, _ = self.state()
        for array in arrays.values():
            self.team.copy(array)
        self.restore(arrays, header)

    def check_replicas(self) -> None:
        """Raises ValueError if the weights are not the same bits in all processes."""
        checksums = self.team.together(self, "_checksums")
        wrong = [str(rank) for rank, one in enumerate(checksums) if one != checksums[0]]
        if wrong:
            raise ValueError(
                f"after iteration {self.iteration} the weights of process {', '.join(wrong)} are "
                "not those of process 0, which must not be; what was saved before is untouched. "
                "Take machines of one kind with the same libraries, and go on by --resume"
            )

    def _checksums(self):
        checksum = 0
        for vector in self.vectors:
            checksum = zlib.crc32(np.asarray(vector.data, order="C"), checksum)
        return self.team.gather(checksum)

    def check(self, loss: float, norm: float = 0.0) -> None:
        """Raises ValueError if a loss, or the norm of its gradient, is nan or infinite."""
        c = self.config
        if not math.isfinite(loss + norm):
            raise ValueError(
                f"training diverged at iteration {self.iteration}: the loss is {loss}, the norm of "
                f"its gradient {norm}; what was saved before is untouched. Try a lower "
                f"--learning-rate than {c.learning_rate:g} or --muon-lr than {c.muon_lr:g}, more "
                f"--warmup-iters than {c.warmup_iters}, or --grad-clip 1"
            )

    @property
    def best(self) -> list[float] | None:
        """The evaluation with the lowest loss."""
        return min(self.evaluations, key=lambda pair: pair[1], default=None)

    @property
    def finished(self) -> bool:
        """Whether max_iters are done, or the validation loss has not improved for too long."""
        since = [i for i, _ in self.evaluations if i > self.best[0]]
        patience = self.config.patience
        return self.iteration >= self.config.max_iters or 0 < patience <= len(since)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Arrays, and strings, from which `restore` goes on to the same bits."""
        if self._scattered:
            self.team.together(self, "_gather_moments")
        arrays = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        arrays |= {f"adamw.{k}": v for k, v in self.adamw.state_dict().items()}
        arrays |= {f"muon.{k}": v for k, v in self.muon.state_dict().items()}
        done = {"iteration": self.iteration, "evaluations": self.evaluations}
        return arrays, {"done": json.dumps(done)}

    def _gather_moments(self):
        moments = self.muon.state_dict()
        del moments["steps"]
        self.team.exchange(moments.values())
        self._scattered = False

    def restore(self, arrays: dict[str, np.ndarray], header: dict[str, str]) -> None:
        """Go on from a state()."""
        self.model.load_state_dict(_below("model.", arrays))
        self.adamw.load_state_dict(_below("adamw.", arrays))
        self.muon.load_state_dict(_below("muon.", arrays))
        done = json.loads(header["done"])
        self.iteration, self.evaluations = done["iteration"], done["evaluations"]


class _Replica:
    """A model for one thread: its own, or a copy of the same weights with gradients of its own."""

    def __init__(self, model):
        self.model, self.parameters = model, model.parameters()
        self._dropouts = [m for m in model.modules() if isinstance(m, Dropout)]

    def draw_from(self, rng):
        """Let all dropout draw from rng: a model that was loaded has none of its own."""
        for dropout in self._dropouts:
            dropout.rng = rng

    def gradients(self, ids, targets, rows, ignore_index, rank, size):
        """Set those of a share of the batch; returns what it adds to the loss."""
        for p in self.parameters:
            p.grad = None
        return accumulate_gradients(self.model, ids, targets, rows, ignore_index, rank, size)

    def add_to(self, other):
        for p, q in zip(self.parameters, other.parameters, strict=True):
            if p.grad is not None and q.grad is not None:  # q may have been frozen since
                q.grad += p.grad


def _copied(model):
    """A copy of a model whose parameters have the same arrays, and no gradients."""
    parameters = model.parameters()
    known = {id(p.data): p.data for p in parameters}
    known |= {id(p.grad): None for p in parameters}
    known |= {id(p.grad_buffer): None for p in parameters}
    return copy.deepcopy(model, known)


_LARGE = 1 << 20  # entries of a parameter whose gradient is an array of its own


def _flattened(parameters):
    """The parameters, all but the large ones as one vector.

    The gradient of a large one takes the memory that activations have left, and leaves it to those
    of the next iteration. Its place in a vector would be taken all the time.
    """
    small = [p for p in parameters if p.size < _LARGE]
    return [*([flatten(small)] if small else []), *(p for p in parameters if p.size >= _LARGE)]


def _below(prefix, arrays):
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


# ---------------------------------------------------------------- evaluation


@no_grad()
def mean_loss(
    model: Any,
    tokens: Any,
    stride: int | None = None,
    window: int | None = None,
    batch_size: int | None = None,
    advance: Callable[[int], object] = lambda scored: None,
) -> float:
    """Nats per token over a whole text: of every token but the first, each scored once.

    Windows of `window` tokens (block_size if None) begin `stride` (window if None) apart, and
    each scores the tokens that none before it has: with stride 1 every token has its full
    context, with stride `window` the first of a window has none but itself.
    """
    window = model.config.block_size if window is None else window
    stride = window if stride is None else stride
    if not 1 <= stride <= window <= model.config.block_size:
        raise ValueError(
            f"window {window} and stride {stride}: 1 <= stride <= window <= block_size "
            f"{model.config.block_size} is needed"
        )
    n = len(tokens) - 1
    if n < 1:
        raise ValueError(f"a text of {n + 1} tokens has none to predict: two are needed")
    window = min(window, n)
    if batch_size is None:
        batch_size = max(1, 2048 // window)
    stride, total = min(stride, window), 0.0
    begins = np.arange(0, n - window + stride, stride)
    for i in range(0, len(begins), batch_size):
        at = begins[i : i + batch_size, None] + np.arange(window + 1)
        windows = tokens[np.minimum(at, n)]  # the last may reach beyond the end
        targets = np.where(at <= n, windows, -100)[:, 1:]
        targets[at[:, 0] > 0, : window - stride] = -100  # scored before
        count = int((targets != -100).sum())
        total += model.eval().loss(windows[:, :-1], targets).item() * count
        advance(count)
    return total / n


# ---------------------------------------------------------------- the machine


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """A list that Ctrl-C, or SIGTERM, puts something into, so that an iteration is not torn.

    The second Ctrl-C does what it always does.
    """
    caught, before = [], {}

    def catch(number, frame):
        caught.append(number)
        signal.signal(number, before[number])
        print("\nstopping after this iteration; once more stops at once", file=sys.stderr)

    if threading.current_thread() is threading.main_thread():  # others may not ask for signals
        before = {n: signal.signal(n, catch) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def machine_memory() -> float:
    """Bytes of memory that a process may have here; infinite if the system does not tell."""
    sizes = [math.inf]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            sizes.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(sizes)
