"""Texts continued by a saved model, on the screen as they come."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..sampling import Sampling, stream
from .command import one_line_errors
from .tokenizers import Tokenizer, stream_text

__all__ = ["Writer"]


class Writer:
    """Continues prompts with a model and its tokenizer; `samples` texts for each prompt.

    A text ends with the tokenizer's own end, before one of the strings `stop`, or after
    max_new_tokens.
    """

    def __init__(
        self, model: Any, tokenizer: Tokenizer, sampling: Sampling, *, max_new_tokens: int,
        num_samples: int, stop: Sequence[str], rng: np.random.Generator,
    ):  # fmt: skip
        self.model, self.tokenizer, self.sampling = model, tokenizer, sampling
        self.max_new_tokens, self.num_samples = max_new_tokens, num_samples
        self.stop, self.rng = stop, rng

    def write(self, prompt: str) -> None:
        """Print a prompt and what follows; several texts one after the other."""
        tokenizer, samples = self.tokenizer, self.num_samples
        ids = tokenizer.encode(prompt)
        if not ids:
            raise ValueError("the prompt is empty: give --prompt at least one word or character")
        if tokenizer.kind == "word" and tokenizer.unknown(prompt):
            unknown = ", ".join(tokenizer.unknown(prompt))
            print(f"words the model has never seen, read as <UNK>: {unknown}", file=sys.stderr)
        rows: Any = stream(
            self.model, [ids] * samples, self.max_new_tokens, self.sampling,
            stop=tokenizer.stop, rng=self.rng,
        )  # fmt: skip
        if samples > 1:  # side by side, so none can be shown before the last token
            rows = np.array([*rows]).reshape(-1, samples)
        for n in range(samples):
            print("-" * 40 + "\n" if n else "", tokenizer.decode(ids), sep="", end="", flush=True)
            drawn = itertools.takewhile(
                lambda i: i != tokenizer.stop, (int(row[n]) for row in rows)
            )
            for piece in stream_text(tokenizer, ids, drawn, self.stop):
                print(piece, end="", flush=True)
            print()

    def write_from_anything(self) -> None:
        """Begin with a token at random."""
        self.write(self.tokenizer.decode([int(self.rng.choice(self.tokenizer.starts()))]))

    def ask(self) -> None:
        """Read prompts from the terminal until an empty line; errors do not end it."""
        print("Type a prompt; an empty line ends it.", file=sys.stderr)
        while prompt := _line():
            with one_line_errors():
                self.write(prompt)


def _line():
    with contextlib.suppress(EOFError):
        return input("> ")
