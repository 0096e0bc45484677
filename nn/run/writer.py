"""Continues texts with a saved model and prints them as they are drawn."""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..sampling import Sampling, stream
from .command import given, one_line_errors, select
from .tokenizers import Tokenizer, readable, stream_text

__all__ = ["Writer", "ask", "unescaped", "write"]


@dataclass
class Writer:
    """Continues prompts with a model. Raises ValueError for an option that makes no sense.

    A text ends with the end token of the tokenizer, before one of the strings `stop`, or after
    max_new_tokens.
    """

    model: Any
    tokenizer: Tokenizer
    sampling: Sampling
    max_new_tokens: int = 300
    num_samples: int = 1  # texts for each prompt
    stop: Sequence[str] = ()
    seed: int | None = None

    def __post_init__(self):
        if self.max_new_tokens < 0:
            raise ValueError(f"max_new_tokens must not be negative, got {self.max_new_tokens}")
        if self.num_samples < 1 or "" in self.stop or (self.seed or 0) < 0:
            raise ValueError(
                "--num-samples must be at least 1, --stop not empty, --seed not negative; got "
                f"{self.num_samples}, {self.stop} and {self.seed}"
            )
        self.stop = [readable(text) for text in self.stop]
        self._rng = np.random.default_rng(self.seed)

    def write(self, prompt: str | None) -> None:
        """Print a prompt (None: a random token) and what follows it, for each sample."""
        tokenizer = self.tokenizer
        if prompt is None:
            prompt = tokenizer.decode([int(self._rng.choice(tokenizer.starts()))])
        ids, begin = tokenizer.encode(prompt), [*tokenizer.begin]
        if not ids:
            raise ValueError("the prompt is empty: give --prompt at least one word or character")
        if unknown := ", ".join(tokenizer.unknown(prompt)):
            unk = tokenizer.decode([tokenizer.unk])
            print(f"words the model has never seen, read as {unk}: {unknown}", file=sys.stderr)
        V, known = self.model.config.vocab_size, tokenizer.known()
        ends: Any = [] if tokenizer.stop is None else np.ravel(tokenizer.stop)
        rows: Any = stream(
            self.model, [begin + ids] * self.num_samples, self.max_new_tokens, self.sampling,
            stop=tokenizer.stop, rng=self._rng, allowed=np.isin(np.arange(V), known),
        )  # fmt: skip
        if self.num_samples > 1:  # all grow together: shown when all are complete
            rows = np.array([*rows]).reshape(-1, self.num_samples)
        for n in range(self.num_samples):
            print("-" * 40 + "\n" if n else "", tokenizer.decode(ids), sep="", end="", flush=True)
            new = itertools.takewhile(lambda i: i not in ends, (int(row[n]) for row in rows))
            for piece in stream_text(tokenizer, ids, new, self.stop):
                print(piece, end="", flush=True)
            print()


def write(model: Any, tokenizer: Tokenizer, args: Namespace) -> None:
    """The command `generate`: continue a prompt, or those typed in a terminal."""
    sampling = Sampling(**{"temperature": 0.8, **select(given(args), Sampling)})
    stop = [unescaped(text) for text in args.stop]
    writer = Writer(model, tokenizer, sampling, args.max_new_tokens, args.num_samples, stop,
                    args.seed)  # fmt: skip
    if args.prompt is None and sys.stdin.isatty():
        ask(writer.write)
    else:
        writer.write(args.prompt)  # None: begin with a random token


def ask(answer: Callable[[str], None]) -> None:
    """Answer each line typed in a terminal, until an empty one; goes on after errors and Ctrl-C."""
    with contextlib.suppress(ImportError):  # there is none on Windows
        import readline  # noqa: F401  # with it input() edits lines, and remembers them
    print("Type a text; \\n in it is a line break. Ctrl-C ends an answer. An empty line, or Ctrl-C "
          "at the prompt, ends the program.", file=sys.stderr)  # fmt: skip
    if hasattr(sys.stdin, "reconfigure"):  # bytes that are not UTF-8 end one prompt only
        sys.stdin.reconfigure(errors="surrogateescape")
    while prompt := _read_line():
        with one_line_errors():
            try:
                answer(unescaped(prompt))
            except KeyboardInterrupt:
                print()


def _read_line():
    try:
        return input("> ")
    except (EOFError, KeyboardInterrupt):
        print()
        return ""


def unescaped(text: str) -> str:
    r"""A text typed in one line, with \n, \t, \xe9, \u00e9 and \\ as what they stand for."""
    return _ESCAPE.sub(lambda match: match[0].encode().decode("unicode_escape"), text)


_ESCAPE = re.compile(r"\\([nrt\\]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})")
