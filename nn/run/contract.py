"""What a model must have so that this package can train it, save it and generate from it.

A program hands an `Architecture` to the package, which never imports the program. Another class
of models needs another Architecture: tests/test_contract.py has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autograd import Tensor

from ..files import load_model, save_model

__all__ = ["Architecture", "LanguageModel"]


class LanguageModel(Protocol):
    """An nn.Module that predicts the next token.

    Model(config, rng) makes it, with weights drawn from rng; if rng is None they are zeros, to be
    loaded. The model may also have `decoder()` (see nn.sampling.stream), an attribute
    `activation_checkpointing` that it reads in training, and `attention_weights(ids)`, which
    `explain` draws. B sequences, T positions, V tokens.
    """

    config: Any  # a dataclass with at least vocab_size and block_size, the longest context
    training: bool

    def __call__(self, ids: Any) -> Tensor:
        """The logits (..., T, V) of what follows each position of the integers (..., T)."""
        ...

    def loss(self, ids: Any, targets: Any, ignore_index: int = ...) -> Tensor:
        """The mean cross entropy of targets (B, T), in nats, except those equal to ignore_index.

        If no target is left, it is 0.
        """
        ...

    def matrices(self) -> Sequence[Tensor] | Sequence[Mapping[str, Any]]:
        """The matrices inside the network, which nn.Muon moves: parameters, or groups of them.

        AdamW moves all others: tables, the head, biases and norms.
        """
        ...

    # What nn.Module gives:
    def parameters(self) -> list[Tensor]: ...
    def modules(self) -> list[Any]: ...
    def state_dict(self) -> dict[str, np.ndarray]: ...
    def load_state_dict(self, state: Mapping[str, Any], *, assign: bool = False) -> None: ...
    def train(self, training: bool = True) -> Any: ...
    def eval(self) -> Any: ...


@dataclass(frozen=True)
class Architecture:
    """A class of models, and what this package must be told about it."""

    model: Callable[[Any, np.random.Generator | None], Any]  # a LanguageModel
    config: Any  # its config, a dataclass; fields made by nn.config.option have flags
    save: Callable[..., None] = save_model  # (directory, model, tokenizer, notes)
    load: Callable[[Path], Any] | None = None  # (directory); None: nn.files.load_model
    # (config, activation_checkpointing) to the count of numbers kept for backward per token.
    kept: Callable[[Any, bool], float] = lambda config, checkpointing: 0.0
    # (path) of a .gguf file to its model and its tokenizer, one of the library `tokenizers`.
    load_file: Callable[[Path], tuple[Any, Any]] | None = None
    types: Iterable[str] = ()  # model_type in the folders of other programs that `load` opens
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of a new model, beside its config's

    def open(self, directory: Path) -> Any:
        """The saved model of a directory, in evaluation mode."""
        if self.load is None:
            return load_model(directory, self.model, self.config)
        return self.load(directory)
