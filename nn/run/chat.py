"""Talks with a model: its chat template writes the messages as one text, which it continues.

template.py, next to read, renders the template in a process of its own.
"""

from __future__ import annotations

import bisect
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..sampling import Sampling, stream
from .command import given, select
from .template import render
from .tokenizers import Tokenizer, readable, stream_text
from .writer import ask, unescaped

__all__ = ["Chat", "chat"]

_CUT = "\ufdd0"  # a code point for inner use: stands in a message where its text is to be cut


def chat(model: Any, tokenizer: Tokenizer, args: Namespace) -> None:
    """The command: answer --prompt, or what is typed in a terminal, or each line of the input."""
    sampling = Sampling(**{"temperature": 0.6, **select(given(args), Sampling)})
    talk = Chat(model, tokenizer, sampling, args.max_new_tokens, args.system, args.seed)
    if args.prompt is not None:
        talk.say(args.prompt)
    elif sys.stdin.isatty():
        talk.ids([*talk.messages, {"role": "user", "content": "?"}])  # does the template work?
        ask(talk.say)
    else:
        for line in filter(str.strip, sys.stdin):
            talk.say(unescaped(line.rstrip("\r\n")))


@dataclass
class Chat:
    """A conversation. Raises ValueError for an option that makes no sense.

    An answer ends with a token that ends a text, with any other that steers, or after
    max_new_tokens.
    """

    model: Any
    tokenizer: Tokenizer
    sampling: Sampling
    max_new_tokens: int = 512
    system: str | None = None  # what the model is told before all messages
    seed: int | None = None

    def __post_init__(self):
        config, tokenizer = self.model.config, self.tokenizer
        if self.max_new_tokens < 1 or (self.seed or 0) < 0:
            raise ValueError(
                "--max-new-tokens must be at least 1, --seed not negative; got "
                f"{self.max_new_tokens} and {self.seed}"
            )
        self._template: Any = getattr(config, "chat_template", None)
        if not self._template:
            raise ValueError(
                "the model has no chat template, so it was not made for talking: continue texts "
                "with `generate`, or take a model whose name ends in Instruct or Chat"
            )
        head = [] if self.system is None else [{"role": "system", "content": self.system}]
        self.messages: list[dict[str, str]] = head
        named = {"bos_token_id": None, "eos_token_id": tokenizer.stop, **(config.token_ids or {})}
        ids = {name: np.ravel([] if i is None else i).tolist() for name, i in named.items()}
        self._allowed = np.isin(np.arange(config.vocab_size), tokenizer.known())
        self._controls = tokenizer.controls()
        self._ends = sorted({*ids["eos_token_id"], *self._controls.values()})
        texts = {name.removesuffix("_id"): tokenizer.decode(some[:1]) for name, some in ids.items()}
        # A model that can think aloud, as Qwen 3, is asked for its answer only.
        self._values = {**texts, "tools": None, "documents": None, "enable_thinking": False}
        self._decoder = self.model.decoder() if hasattr(self.model, "decoder") else None
        self._rng = np.random.default_rng(self.seed)

    def say(self, text: str) -> None:
        """Print the answer to a message as it is drawn. Both then belong to the conversation.

        If Ctrl-C ends the answer, what was printed of it belongs to it, too. After an error, or if
        nothing was printed, the conversation is as before.
        """
        if not text.strip():
            raise ValueError("the message is empty: give it at least one word")
        messages, ids = self._fitting([*self.messages, {"role": "user", "content": text}])
        room = min(self.max_new_tokens, self.model.config.block_size - len(ids))
        drawn: list[int] = []
        answer = ""
        try:
            for piece in stream_text(self.tokenizer, ids, self._draw(ids, room, drawn)):
                print(piece, end="", flush=True)
                answer += piece
        except KeyboardInterrupt:
            if answer:
                self.messages = [*messages, {"role": "assistant", "content": answer}]
            raise
        print()
        self.messages = [*messages, {"role": "assistant", "content": answer}]
        if drawn[-1] not in self._ends:
            why = "the context is full" if room < self.max_new_tokens else "see --max-new-tokens"
            print(f"(cut off after {room} tokens: {why})", file=sys.stderr)

    def _draw(self, ids: list[int], room: int, drawn: list[int]) -> Iterator[int]:
        """Yields the tokens of an answer; `drawn` gets each, and the one that ends it."""
        for token in stream(
            self.model, ids, room, self.sampling, stop=self._ends, rng=self._rng,
            allowed=self._allowed, next_logits=self._decoder,
        ):  # fmt: skip
            drawn.append(token)
            if token not in self._ends:
                yield token

    def _fitting(self, messages):
        """The messages and their ids; if the context is full, without the oldest turns.

        So many leave that a quarter of the place for messages is free again: each time the
        beginning changes, the model must read all messages again.
        """
        size, ids = self.model.config.block_size, self.ids(messages)
        limit = size - max(1, min(self.max_new_tokens, size // 4))
        if len(ids) <= limit:
            return messages, ids
        turns = [n for n, message in enumerate(messages) if message["role"] == "user"]

        def without(n):
            return messages[: turns[0]] + messages[turns[n] :]

        def fits(n):
            return len(self.ids(without(n))) <= limit * 3 // 4

        left_out = bisect.bisect_left(range(len(turns) - 1), True, key=fits)
        messages, ids = without(left_out), self.ids(without(left_out))
        if len(ids) > limit:
            raise ValueError(
                f"the message is too long: with what the template adds it has {len(ids)} tokens, "
                f"and {limit} have room beside an answer in the context of {size}"
            )
        print(f"(the context is full: the oldest {left_out} of your {len(turns)} messages are "
              "forgotten)", file=sys.stderr)  # fmt: skip
        return messages, ids

    def ids(self, messages: list[dict[str, str]]) -> list[int]:
        """The tokens of a conversation, up to where the next answer begins.

        A token that steers, such as <|im_end|>, is one only where the template has it; in a message
        it is the letters that somebody has typed.
        """
        spelt = [{**m, "content": self._spelt(readable(m["content"]))} for m in messages]
        values = {**self._values, "messages": spelt, "add_generation_prompt": True}
        parts = render(self._template, values).split(_CUT)
        return [i for part in parts for i in self.tokenizer.encode(part)]

    def _spelt(self, text):
        """A text with a cut in each part that would be read as a token that steers."""
        text = text.replace(_CUT, "")
        for token in self._controls:
            text = text.replace(token, f"{token[:1]}{_CUT}{token[1:]}")
        return text
