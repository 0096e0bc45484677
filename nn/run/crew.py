"""Computes the gradients of a batch: in parts, by threads and by processes.

Next to read: team.py, for the processes.
"""

from __future__ import annotations

import copy
import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from autograd import Tensor, no_grad

from ..functional import IGNORE_INDEX
from ..layers import Dropout
from ..optim import clip_grad_norm
from ..threads import in_threads, threads_for
from .team import Team

__all__ = ["Crew", "accumulate_gradients", "rows_at_once", "split_batch"]


def rows_at_once(B: int, T: int) -> int:
    """How many of B sequences of T tokens to compute at a time: about 1000 tokens.

    More take more memory, fewer take more time.
    """
    return -(-B // max(1, B * T // 1024))


def split_batch(
    ids: np.ndarray, targets: np.ndarray, rows: int = 0, ignore_index: int = IGNORE_INDEX,
    rank: int = 0, size: int = 1,
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:  # fmt: skip
    """Parts (ids, targets, weight) of a batch (B, T), of `rows` sequences each.

    The weight of a part is its share of the targets that count: the sum of weight * loss is the
    loss of the batch. If rows is 0, `rows_at_once` decides. With `size` above 1, the batch is first
    divided as equally as possible among `size` ranks; the parts are those of `rank`.
    """
    begin, end = len(ids) * rank // size, len(ids) * (rank + 1) // size
    rows = rows or rows_at_once(max(1, end - begin), ids.shape[1])
    total = max(1, int((targets != ignore_index).sum()))
    for i in range(begin, end, rows):
        part = slice(i, min(end, i + rows))
        weight = float((targets[part] != ignore_index).sum() / total)
        yield ids[part], targets[part], weight


def accumulate_gradients(
    model: Any, ids: np.ndarray, targets: np.ndarray, rows: int = 0,
    ignore_index: int = IGNORE_INDEX, rank: int = 0, size: int = 1,
) -> float:  # fmt: skip
    """Forward and backward on the parts that split_batch gives; returns the loss.

    The gradients add up to the gradient of the mean over the whole batch.
    """
    total = 0.0
    for part, its_targets, weight in split_batch(ids, targets, rows, ignore_index, rank, size):
        loss = model.loss(part, its_targets, ignore_index) * weight
        loss.backward()
        total += loss.item()
    return total


class Crew:
    """The threads of this process, and the processes of a team, that compute a batch together.

    Threads work on copies of the model, which share the arrays of the weights and nothing else.
    `vectors` hold all that is trained; `rng_of(thread)` gives the generator of a thread for this
    iteration.
    """

    def __init__(
        self, model: Any, rows: int, parameters: Sequence[Tensor], vectors: Sequence[Tensor],
        rng_of: Callable[[int], np.random.Generator],
    ):  # fmt: skip
        self.model, self.rows, self.vectors, self.rng_of = model, rows, vectors, rng_of
        self.team, self.stopped = Team(), False  # stopped: by a signal to another process
        self._parameters, self._arrays = parameters, [p.data for p in parameters]
        self._workers = [_Worker(model)]  # one for each thread; the first has the model itself
        self._can_copy = True  # whether the model can be copied

    def draw_from(self, rng: np.random.Generator) -> None:
        """Let dropout in this thread draw from rng."""
        self._workers[0].draw_from(rng)

    def _begin_iteration(self):
        """Set training mode, and new generators except in the first thread of rank 0."""
        for thread, worker in enumerate(self._workers):
            if thread or self.team.rank:
                worker.draw_from(self.rng_of(thread))
        if not self.model.training:
            self.model.train()

    def gradients(
        self, ids: np.ndarray, targets: np.ndarray, ignore_index: int, begin: bool
    ) -> float:
        """Set the gradients of a batch; returns its loss. With `begin`, an iteration begins."""
        if begin:
            self._begin_iteration()
        self._check_arrays()
        team, (workers, rows) = self.team, self._workers_for(ids)

        def work(n):
            with np.errstate(all="ignore"):  # an overflow is seen in the loss, or in the norm
                return workers[n].gradients(
                    ids, targets, rows, ignore_index,
                    team.rank * len(workers) + n, team.size * len(workers),
                )  # fmt: skip

        losses = in_threads([functools.partial(work, n) for n in range(len(workers))])
        for p in self._parameters:
            if p.grad is None:  # the loss, or the part of this thread, does not depend on it
                p.grad = np.zeros_like(p.data) if p.grad_buffer is None else p.grad_buffer
                p.grad.fill(0)
        for worker in workers[1:]:
            worker.add_to(workers[0])
        sums = np.array([sum(losses), len(team.caught)])
        team.sum(sums)
        for vector in self.vectors:
            team.sum(np.asarray(vector.grad))
        self.stopped = bool(sums[1])
        return float(sums[0])

    def clip(self, max_norm: float) -> float:
        """Scale the gradients so that their norm is at most max_norm; returns the norm before."""
        with np.errstate(all="ignore"):  # the caller sees what is not finite
            return clip_grad_norm(self.vectors, max_norm)

    @no_grad()
    def loss(self, batches: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
        """The mean loss of batches (ids, targets), without dropout."""
        team, total = self.team, np.zeros(())
        self.model.eval()
        for batch in batches:
            for ids, targets, weight in split_batch(
                *batch, self.rows, rank=team.rank, size=team.size
            ):
                total += self.model.loss(ids, targets).item() * weight
        team.sum(total)
        return total.item() / len(batches)

    def checksums(self) -> list[int] | None:
        """On rank 0: a checksum of the weights of each process."""
        crc = 0
        for vector in self.vectors:
            crc = zlib.crc32(np.asarray(vector.data, order="C").data, crc)
        return self.team.gather(crc)

    def _workers_for(self, ids):
        """The workers that share a batch, and how many sequences each computes at a time."""
        rows_of_rank, T = -(-len(ids) // self.team.size), ids.shape[1]
        parameters = sum(v.size for v in self.vectors)
        threads = threads_for(parameters, rows_of_rank, T) if self._can_copy else 1
        while len(self._workers) < threads:
            try:
                self._workers.append(_Worker(_copied(self.model)))
            except TypeError:  # it holds what cannot be copied, such as an open file
                self._can_copy, threads = False, 1
                break
            self._workers[-1].draw_from(self.rng_of(len(self._workers) - 1))
        for worker in self._workers:
            if worker.model.training != self.model.training:
                worker.model.train(self.model.training)
        rows = self.rows or rows_at_once(rows_of_rank, T)
        return self._workers[:threads], -(-rows // threads)

    def _check_arrays(self):
        if any(p.data is not a for p, a in zip(self._parameters, self._arrays, strict=True)):
            raise ValueError(
                "the weights of the model were replaced since Training was made (by .to(), by "
                "loading with assign=True, or by another optimizer), and would not be trained: "
                "make Training after that"
            )


class _Worker:
    """A model for one thread: the model itself, or a copy with gradients of its own."""

    def __init__(self, model):
        self.model, self.parameters = model, model.parameters()
        self._dropouts = [m for m in model.modules() if isinstance(m, Dropout)]

    def draw_from(self, rng):
        """Let dropout draw from rng: a model that was loaded has no generator of its own."""
        for dropout in self._dropouts:
            dropout.rng = rng

    def gradients(self, ids, targets, rows, ignore_index, rank, size):
        """Set the gradients of part `rank` of `size` of a batch; returns its part of the loss."""
        for p in self.parameters:
            p.grad = None
        return accumulate_gradients(self.model, ids, targets, rows, ignore_index, rank, size)

    def add_to(self, other):
        """Add the gradients to those of another worker."""
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
