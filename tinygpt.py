"""A small language model, whole: text, model, training, generation, command line.

    python tinygpt.py                                      the five-sentence example
    python tinygpt.py train FILE --out-dir RUN             train on a text
    python tinygpt.py train --out-dir RUN --resume         go on where it stopped
    python tinygpt.py train FILE --out-dir RUN --procs 4   on four cores
    python tinygpt.py evaluate RUN FILE                    loss and perplexity on a text
    python tinygpt.py plot RUN RUN                         the losses of several runs
    python tinygpt.py generate RUN --prompt "To be"        continue a prompt
    python tinygpt.py explain RUN "To be or not"           draw what its heads look at

The file is meant to be read from top to bottom. The layers are in nn/, and so are the tokenizers
(nn/text.py); the calculus below them is in autograd/. B sequences, T positions, C channels, V
tokens.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import shlex
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import nn
from autograd import Tensor, no_grad
from nn.checkpoint import load_arrays, locked, read_json, save_arrays, write_json
from nn.explain import plot_attention
from nn.functional import linear, linear_cross_entropy
from nn.gpt2 import gpt2_config, gpt2_names, gpt2_weights, read_gpt2_config, read_gpt2_weights
from nn.monitor import Metrics, Progress, duration, figures_of, plot_losses, read_metrics, reading
from nn.parallel import Team, launch, world
from nn.sampling import check_sampling, penalize, sample
from nn.text import (
    END,
    PAD,
    START,
    TOKENIZERS,
    UNK,
    BPETokenizer,
    CharTokenizer,
    TokenFile,
    Tokenizer,
    WordTokenizer,
    digest,
    load_tokenizer,
    open_tokens,
    read_pieces,
    text_files,
    text_of,
    tokenize,
)
from nn.training import (
    CHOICES,
    DERIVED,
    TrainConfig,
    Training,
    interrupts,
    machine_memory,
    mean_loss,
    random_batch,
    require,
    sequences_at_once,
    threads_for,
)

__all__ = [
    "BPETokenizer", "CharTokenizer", "GPTConfig", "TinyGPT", "TrainConfig", "Training",
    "WordTokenizer", "load", "main", "mean_loss", "sample", "save", "train",
]  # fmt: skip

# ---------------------------------------------------------------- the model


@dataclass
class GPTConfig:
    """The shape of a model; the defaults are nanoGPT's for a CPU."""

    vocab_size: int
    block_size: int = 64  # the longest context, in tokens
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    d_ff: int | None = None  # 4 * n_embd
    dropout: float = 0.0
    bias: bool = False
    positions: str = "learned"  # or "sinusoidal"
    activation: str = "gelu"  # or another of nn.FeedForward
    norm_first: bool = True
    tie_weights: bool = True
    eps: float = 1e-5  # of the layer norms
    scale_attention: bool = True  # by 1 / sqrt(width of a head)
    scale_by_layer: bool = False  # ... and in layer n by 1 / (n + 1)

    def __post_init__(self):
        self.d_ff = 4 * self.n_embd if self.d_ff is None else self.d_ff
        require(self, "vocab_size block_size n_layer n_head n_embd d_ff", 1)
        require(self, "dropout", 0, below=1)
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd {self.n_embd} cannot be divided among n_head {self.n_head}: choose a "
                f"width such as {self.n_head * -(-self.n_embd // self.n_head)}"
            )
        if self.positions not in ("learned", "sinusoidal"):
            raise ValueError(f"positions must be learned or sinusoidal, got {self.positions!r}")


class TinyGPT(nn.Module):
    """A decoder-only transformer: integers (T,) or (B, T) to logits (..., T, V)."""

    activation_checkpointing = False  # in training: keep nothing of a block but its input

    def __init__(self, config: GPTConfig, rng: np.random.Generator | None):
        """With weights drawn from `rng` as GPT-2's are; zeros, to be loaded, if it is None."""
        c = self.config = config
        self.token_embedding = nn.Embedding(c.vocab_size, c.n_embd, rng)
        if c.positions == "learned":
            self.position_embedding = nn.Embedding(c.block_size, c.n_embd, rng)
        else:
            self.position_table = nn.sinusoidal_positions(c.block_size, c.n_embd)
        self.dropout = nn.Dropout(c.dropout, rng)
        width = math.sqrt(c.n_embd / c.n_head) if c.scale_attention else 1.0
        self.blocks = [
            nn.Block(
                c.n_embd, c.n_head, c.d_ff, rng, norm_first=c.norm_first,
                activation=c.activation, bias=c.bias, dropout=c.dropout, eps=c.eps,
                scale=1 / (width * (n + 1 if c.scale_by_layer else 1)),
            )
            for n in range(c.n_layer)
        ]  # fmt: skip
        for name, p in self.named_parameters():  # as GPT-2: the sum of all blocks stays small
            if rng and p.ndim == 2 and name.startswith("blocks."):
                std = 0.02 / (math.sqrt(2 * c.n_layer) if "projection" in name else 1)
                p.data *= std * math.sqrt(len(p.data))  # Linear begins with 1 / sqrt(in)
        if c.norm_first:
            self.norm = nn.LayerNorm(c.n_embd, bias=c.bias, eps=c.eps)
        if not c.tie_weights:
            self.head = nn.Linear(c.n_embd, c.vocab_size, rng, bias=False)

    def __call__(
        self,
        ids: Any,
        caches: list[nn.KVCache] | None = None,
        padding: np.ndarray | None = None,
        last: bool = False,
    ) -> Tensor:
        """The logits of what follows each position; of the last one alone if `last`.

        `caches`, one for each block, hold the positions before ids; `padding` (B,) is how many of
        the first positions of each row are none.
        """
        x = self._hidden(ids, caches, padding)  # (..., T, C)
        return linear(x[..., -1:, :] if last else x, self._table().T)

    def _hidden(self, ids, caches=None, padding=None):
        ids = np.asarray(ids)
        before = caches[0].length if caches else 0
        S = before + ids.shape[-1]
        if self.config.block_size < S:
            raise ValueError(f"{S} tokens do not fit into block_size {self.config.block_size}")
        at, mask = np.arange(before, S), None
        if padding is not None:
            at = np.maximum(at - padding[:, None], 0)  # (B, T)
            mask = (np.arange(S) >= padding[:, None])[:, None, None]  # (B, 1, 1, S)
        x = self._embed(ids, at)  # (..., T, C)
        for n, block in enumerate(self.blocks):
            if self.activation_checkpointing and self.training:
                x = nn.checkpoint_activations(block, x, mask)
            else:
                x = block(x, mask, caches[n] if caches else None)
        return self.norm(x) if self.config.norm_first else x

    def _table(self):
        """What the last layer is multiplied with: a vector for each token, (V, C)."""
        return self.token_embedding.weight if self.config.tie_weights else self.head.weight.T

    def _embed(self, ids, at):
        x = self.token_embedding(ids)
        if self.config.positions == "learned":
            x = x + self.position_embedding(at)
        else:
            x = x + self.position_table[at].astype(x.dtype)
        return self.dropout(x)

    @no_grad()
    def attention_weights(self, ids: Any) -> np.ndarray:
        """How much each position of ids (T,) looks at each other: (L, H, T, T)."""
        x, weights = self._embed(np.asarray(ids), np.arange(len(ids))), []
        for block in self.blocks:
            weights.append(block.attention.weights(block.norm1(x) if block.norm_first else x).data)
            x = block(x)
        return np.array(weights)

    @classmethod
    def from_pretrained(cls, directory: Path | str) -> TinyGPT:
        """The model of a GPT-2 folder of Hugging Face's, or of a run; its file is not copied.

        Raises ValueError naming the key of config.json or the weight that is wrong.
        """
        directory = Path(directory)
        path = directory / "config.json"
        config = read_json(path)
        own = config.get("tinygpt")
        try:
            fields = GPTConfig(**(own or read_gpt2_config(path)))
        except TypeError as error:
            raise ValueError(f"{path} is damaged ({error})") from error
        arrays, header = read_gpt2_weights(directory, fields.n_layer)
        _check_seals(directory, header)
        if own and "seals" not in header and config.get("model_type") == "gpt2":
            own = None  # it was written by another program since, which knows other keys only
            fields = GPTConfig(**read_gpt2_config(path))
        model = cls(fields, None)
        state = model.state_dict()
        for name in state:  # a bias that is not there is none
            if name.endswith(".bias") and not own:
                arrays.setdefault(name, state[name])
        left_out = [n for n in gpt2_names(fields.n_layer) if n.endswith(".bias") and n not in state]
        for name in [*left_out, "head.weight" if fields.tie_weights else ""]:
            arrays.pop(name, None)
        try:
            model.load_state_dict(arrays, assign=True)
        except ValueError as error:
            text = str(error)
            for ours, theirs in gpt2_names(fields.n_layer).items():
                text = text.replace(f" {ours} ", f" {theirs} ")
            raise ValueError(f"{directory}: {text}") from error
        return model.eval()

    def save_pretrained(self, directory: Path | str, tokenizer: Tokenizer | None = None) -> None:
        """Write a folder that Hugging Face's GPT2LMHeadModel opens, and from_pretrained.

        Raises ValueError saying what of this model GPT-2 does not have.
        """
        Path(directory).mkdir(parents=True, exist_ok=True)
        _write(Path(directory), self, tokenizer, gpt2_config(self.config, _end(tokenizer)), None)

    def loss(self, ids: Any, targets: Any, ignore_index: int = -100) -> Tensor:
        """The mean cross entropy of the targets (of the shape of ids), in nats per token."""

        def loss(ids, targets):
            return linear_cross_entropy(self._hidden(ids), self._table(), targets, ignore_index)

        return nn.share_batch(loss, self, ids, targets, ignore_index=ignore_index)

    def generate(
        self,
        ids: Any,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: int | Iterable[int] | None = None,
        rng: np.random.Generator | None = None,
        **options: Any,
    ) -> np.ndarray | list[np.ndarray]:
        """ids (T,) or (B, T) with up to max_new_tokens more, each drawn given those before it.

        ids may be a list of prompts of different lengths: then a list comes back. A sequence
        ends with a token of `stop`, which is kept and fills up the shorter ones. `options` are
        those of `stream`.
        """
        prompts, single = _prompts(ids)
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, **options}
        drawn = [*self.stream(prompts, max_new_tokens, stop=stop, rng=rng, **options)]
        new = np.array(drawn, dtype=np.int64).reshape(-1, len(prompts)).T  # (B, new)
        rows = [np.concatenate(pair) for pair in zip(prompts, new, strict=True)]
        if single:
            return rows[0]
        return np.array(rows) if len({*map(len, prompts)}) == 1 else rows

    def stream(
        self,
        ids: Any,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        stop: int | Iterable[int] | None = None,
        rng: np.random.Generator | None = None,
        cache: bool = True,
    ) -> Iterator[Any]:
        """Yields the next token of ids (T,), an int, or of several prompts, (B,), as it is drawn.

        What comes next depends on the last block_size tokens. Up to there the keys and values of
        earlier positions are kept (`cache`), which changes the time and nothing else.
        """
        check_sampling(max_new_tokens, temperature, top_k, top_p, min_p, repetition_penalty)
        prompts, single = _prompts(ids)
        rng = np.random.default_rng() if rng is None else rng
        ends = [] if stop is None else [stop] if np.ndim(stop) == 0 else [*stop]
        longest = max(map(len, prompts))
        padding = np.array([longest - len(prompt) for prompt in prompts])
        rows = np.array([[0] * (longest - len(p)) + [*p] for p in prompts])  # (B, T)
        done = np.zeros(len(rows), dtype=bool)
        caches = [nn.KVCache(self.config.block_size) for _ in self.blocks] if cache else None
        for _ in range(max_new_tokens):
            logits = self._next(rows, padding, caches)
            new = np.full(len(rows), ends[0] if ends else 0)
            for b in np.flatnonzero(~done):
                scores = logits[b]
                if repetition_penalty != 1:
                    scores = penalize(scores, rows[b, padding[b] :], repetition_penalty)
                new[b] = sample(scores, temperature, top_k, top_p, rng, min_p)
            rows = np.concatenate([rows, new[:, None]], axis=1)
            yield int(new[0]) if single else new
            done |= np.isin(new, ends)
            if done.all():
                return

    @no_grad()
    def _next(self, rows, padding, caches):
        """The logits (B, V) of what follows rows (B, T)."""
        was_training, T = self.training, self.config.block_size
        if was_training:
            self.eval()
        try:
            if caches and rows.shape[1] <= T:
                rows = rows[:, caches[0].length :]
            else:  # each position moves by one with every token: nothing to keep
                caches, padding = None, np.maximum(padding - max(0, rows.shape[1] - T), 0)
                rows = rows[:, -T:]
            return self(rows, caches, padding if padding.any() else None, last=True).data[:, -1]
        finally:
            if was_training:
                self.train()


def _prompts(ids):
    """A list of arrays, and whether it was one alone."""
    single = np.ndim(ids[0]) == 0 if len(ids) else True
    prompts = [np.asarray(prompt) for prompt in ([ids] if single else ids)]
    if not all(prompt.ndim == 1 and prompt.size for prompt in prompts):
        shapes = ", ".join(str(prompt.shape) for prompt in prompts)
        raise ValueError(f"generate: ids of shape {shapes}, expected (T,) or (B, T), T > 0")
    return prompts, single


# ---------------------------------------------------------------- training


def train(
    training: Training,
    next_batch: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
    run: Run | None = None,
    ignore_index: int = -100,
) -> list[float]:
    """Train until it is finished, or until Ctrl-C; returns the losses of these iterations.

    `run` keeps what is done on disk, and evaluates every eval_interval iterations.
    """
    c, losses, shown = training.config, [], {}
    with Progress(c.max_iters, training.iteration) as progress, interrupts() as interrupted:
        started = time.monotonic()
        while True:
            i = training.iteration
            due = i % c.eval_interval == 0 or i >= c.max_iters
            if run and i and due and all(i != before for before, _ in training.evaluations):
                run.save()  # first, lest the evaluation fails
                shown["validation"] = f"{run.evaluate(progress):.3f}"
            if training.finished or interrupted or training.stopped:
                break
            figures = training.step(next_batch, ignore_index)
            losses.append(figures["loss"])
            if run:
                tokens = len(losses) * c.batch_size * training.model.config.block_size
                speed = tokens / (time.monotonic() - started)
                run.record(**figures, tokens_per_second=round(speed))
                shown["speed"] = f"{speed:,.0f} tokens/s"
            progress.update(loss=f"{figures['loss']:.3f}", **shown)
    if run:
        run.save()
    training.model.eval()
    return losses


# ---------------------------------------------------------------- files


def save(directory: Path, model: TinyGPT, tokenizer: Tokenizer, notes: Any = None) -> None:
    """Write config.json, the tokenizer and model.safetensors, whose header seals all three.

    It is a GPT-2 folder if the model can be a GPT-2 (see save_pretrained).
    """
    try:
        config = gpt2_config(model.config, _end(tokenizer))
    except ValueError:
        config = {"model_type": "tinygpt"}
    _write(Path(directory), model, tokenizer, config, notes)


def _end(tokenizer):
    return tokenizer.stop if tokenizer else None


def _write(directory, model, tokenizer, config, notes):
    write_json(directory / "config.json", {**config, "tinygpt": asdict(model.config)})
    files = [directory / "config.json", *([tokenizer.save(directory)] if tokenizer else [])]
    header = {"seals": json.dumps({path.name: _seal(path) for path in files})}
    header |= {"notes": json.dumps(notes)}
    arrays = model.state_dict()
    if config["model_type"] == "gpt2":
        arrays = gpt2_weights(arrays, model.config.n_layer)
    save_arrays(directory / "model.safetensors", arrays, header)


def load(directory: Path | str) -> tuple[TinyGPT, Tokenizer]:
    """The model and tokenizer of a run or a GPT-2 folder. Raises ValueError if there is none."""
    directory = Path(directory)
    if not (directory / "config.json").is_file():
        raise ValueError(
            f"no model in {directory}: give the --out-dir of `tinygpt.py train`, or a GPT-2 folder"
        )
    model, tokenizer = TinyGPT.from_pretrained(directory), load_tokenizer(directory)
    padded = model.config.vocab_size - tokenizer.vocab_size  # often to a multiple of 64
    if padded and not (0 < padded < 128 and model.config.vocab_size % 64 == 0):
        raise ValueError(
            f"the tokenizer in {directory} has {tokenizer.vocab_size} tokens, the model "
            f"{model.config.vocab_size}: one of them belongs to another model"
        )
    return model, tokenizer


def _check_seals(directory, header):
    for name, seal in json.loads(header.get("seals", "{}")).items():
        if _seal(directory / name) != seal:
            raise ValueError(
                f"{directory / name} was changed or damaged since model.safetensors was written"
            )


def _seal(path):
    try:
        return zlib.crc32(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


# ---------------------------------------------------------------- the example

CORPUS = (
    "the cat sat on the mat",
    "the dog sat on the log",
    "the cat and the dog are friends",
    "the mat is on the floor",
    "the log is in the forest",
)


def run_example(seed: int = 0) -> float:
    """The example: five sentences, a vocabulary, a model, its training and what it has learnt."""
    rng = np.random.default_rng(seed)
    tokenizer = WordTokenizer().fit(CORPUS)
    print(f"Vocabulary: {tokenizer.vocab_size} tokens: {' '.join(tokenizer.tokens[:10])} ...")

    sentences = [[START, *tokenizer.encode(sentence), END] for sentence in CORPUS]
    T = max(map(len, sentences)) - 1
    rows = np.array([s + [PAD] * (T + 1 - len(s)) for s in sentences])
    ids, targets = rows[:, :-1], rows[:, 1:]  # (5, T): predict each token from those before it

    config = GPTConfig(
        tokenizer.vocab_size, block_size=16, n_layer=2, n_head=4, n_embd=64, d_ff=128, bias=True,
        positions="sinusoidal", activation="relu", norm_first=False,
    )  # fmt: skip
    model = TinyGPT(config, rng)
    print(
        f"Model: {config.n_layer} layers, {config.n_head} heads, width {config.n_embd}, "
        f"{count(model):,} parameters"
    )
    config = TrainConfig(
        max_iters=300, warmup_iters=20, optimizer="adamw", learning_rate=3e-3, seed=seed
    )
    training = Training(model, config)
    losses = train(training, lambda rng: (ids, targets), ignore_index=PAD)
    metrics = [{"iteration": i, "loss": loss} for i, loss in enumerate(losses, 1)]
    plot_losses(Path("training_loss.png"), {"example": metrics})
    print("Loss curve: training_loss.png\n")

    for prompt in ("the cat", "the dog", "the mat"):
        start = [START, *tokenizer.encode(prompt)]
        generated = model.generate(start, 12, temperature=0.8, stop=END, rng=rng)
        words = [i for i in generated[1:].tolist() if i != END]
        print(f"{prompt} -> {tokenizer.decode(words)}")

    with no_grad():
        loss = model.eval().loss(ids, targets, ignore_index=PAD).item()
    print(f"\nAverage loss {loss:.4f} nats per word, perplexity {math.exp(loss):.3f}")
    return loss


def count(model: nn.Module) -> int:
    return sum(parameter.size for parameter in model.parameters())


# ---------------------------------------------------------------- a run and its directory

PRESETS = {
    "demo": dict(
        n_layer=2, n_head=4, n_embd=64, d_ff=128, block_size=16, bias=True, norm_first=False,
        positions="sinusoidal", activation="relu", batch_size=32,
    ),
    "shakespeare-cpu": dict(),  # nanoGPT's train_shakespeare_char.py for a CPU: the defaults
    "shakespeare-gpu": dict(
        n_layer=6, n_head=6, n_embd=384, block_size=256, dropout=0.2, batch_size=64,
        max_iters=5000,
    ),
    "medium": dict(
        n_layer=12, n_head=8, n_embd=512, d_ff=2048, block_size=256, dropout=0.1, batch_size=16,
        max_iters=5000, learning_rate=6e-4, min_lr=6e-5, warmup_iters=200,
    ),
    "gpt2": dict(
        n_layer=12, n_head=12, n_embd=768, block_size=1024, bias=True, tokenizer="bpe",
        vocab_size=50257, batch_size=12, micro_batch_size=1, max_iters=20000, learning_rate=6e-4,
        min_lr=6e-5, warmup_iters=700, beta2=0.95,
    ),
}  # fmt: skip
_CHANGEABLE = {"max_iters", "patience", "save_seconds", "activation_checkpointing"}  # on --resume


class Run:
    """A training and its directory, in which it can be stopped at any moment.

    state.safetensors has all to go on with, model.safetensors the best model by validation, with
    config.json and the tokenizer; settings.json what it was started with; metrics.jsonl and
    training_loss.png how it goes.
    """

    def __init__(
        self, directory: Path, training: Training, tokenizer: Tokenizer, tokens: TokenFile,
        settings: dict[str, Any],
    ):  # fmt: skip
        self.directory, self.training, self.tokenizer = directory, training, tokenizer
        self.settings, self._saved, self._draw_at = settings, time.monotonic(), 0.0
        cut = len(tokens) * 9 // 10
        self.tokens, self.validation = tokens.part(0, cut), tokens.part(cut, len(tokens))
        T = training.model.config.block_size
        if len(self.validation) <= T:
            raise ValueError(
                f"the text is too short: its last tenth, for validation, has "
                f"{len(self.validation)} tokens and --block-size {T} needs {T + 1}; take a longer "
                "text, a smaller size, or a tokenizer with smaller tokens"
            )
        self.metrics = Metrics(directory / "metrics.jsonl", training.iteration)

    def next_batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        T = self.training.model.config.block_size
        return random_batch(self.tokens, T, self.training.config.batch_size, rng)

    def record(self, **figures: float) -> None:
        """Note the figures of an iteration; save if the last time was long ago."""
        self.metrics.add(self.training.iteration, **figures)
        if time.monotonic() - self._saved >= self.training.config.save_seconds:
            self.save()

    def save(self) -> None:
        """Write all that is needed to go on, if it is sound: if a next step could be taken."""
        few = self.validation[: min(64, self.training.model.config.block_size) + 1][None]
        self.training.check(*self.training.gradients(few[:, :-1], few[:, 1:]))
        self.training.check_replicas()
        self.metrics.sync()
        arrays, header = self.training.state()
        header["settings"] = json.dumps(self.settings)
        save_arrays(self.directory / "state.safetensors", arrays, header)
        self._saved = time.monotonic()

    @no_grad()
    def evaluate(self, progress: Progress) -> float:
        """The validation loss, on the same batches each time; the best model is kept."""
        training, c = self.training, self.training.config
        model, T = training.model.eval(), training.model.config.block_size
        rng = np.random.default_rng((c.seed, 0, 1))  # not those of an iteration
        batches = [random_batch(self.validation, T, c.batch_size, rng) for _ in range(c.eval_iters)]
        loss = training.loss(batches)
        training.check(loss)
        best = training.best is None or loss < training.best[1]
        best = best or not (self.directory / "model.safetensors").exists()  # somebody took it
        if best:
            notes = {"run": _identity(self.settings), "iteration": training.iteration, "loss": loss}
            save(self.directory, model, self.tokenizer, notes)
        training.evaluations.append([training.iteration, loss])
        self.metrics.add(training.iteration, validation_loss=loss)
        self.plot(now=False)
        ids = model.generate(self.validation[:1], 120, temperature=0.8, rng=rng)
        progress.write(
            f"\niteration {training.iteration}: validation loss {loss:.4f}"
            f"{', the best so far' if best else ''}; a sample:\n"
            f"{self.tokenizer.decode(ids[1:].tolist()).strip()}"
        )
        return loss

    def plot(self, now: bool = True) -> None:
        """Draw the losses; unless `now`, only if that has taken a twentieth of the time at most."""
        started = time.monotonic()
        if started < self._draw_at and not now:
            return
        metrics = read_metrics(self.directory / "metrics.jsonl")
        plot_losses(self.directory / "training_loss.png", {str(self.directory): metrics})
        self._draw_at = time.monotonic() + 20 * (time.monotonic() - started)


def run_train(args: argparse.Namespace, team: Team) -> None:
    """Start a run in --out-dir, or go on with it."""
    directory = Path(args.out_dir)
    state = directory / "state.safetensors"
    for name, value in PRESETS.get(args.preset, {}).items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)
    files = text_files(args.files) if args.files else []
    if args.resume and state.exists():
        with locked(directory):
            _train(_resumed(directory, args, files), team)
        return
    if not files:
        raise ValueError(
            f"there is no run in {directory} to go on with: give the FILE to train on"
            if args.resume
            else "give a FILE to train on, or --resume to go on with the run in --out-dir"
        )
    if state.exists() or (directory / "model.safetensors").exists():
        raise ValueError(
            f"there is a run in {directory} already: go on with it by --resume, or choose another "
            "--out-dir"
        )
    base = _base(args) if args.init_from else (None, None)
    config = _from_flags(TrainConfig, args)
    _from_flags(GPTConfig, args, vocab_size=1)  # what is wrong is told before anything is made
    check_procs(config, team)
    text = {"text": digest(files, reading), "kind": args.tokenizer or "char"}
    text["vocab_size"] = args.vocab_size
    if args.init_from:
        text |= {"kind": base[1].kind, "tokenizer": zlib.crc32(base[1].to_json().encode())}
    with locked(directory):
        _train(_started(args, team, files, text, config, *base), team)


def _base(args):
    """The model and the tokenizer of --init-from, to be trained further."""
    model, tokenizer = load(args.init_from)
    fixed = {"tokenizer": tokenizer.kind, **asdict(model.config)}
    for name, value in fixed.items():
        if name != "dropout" and getattr(args, name, None) not in (None, value):
            raise ValueError(
                f"the model in {args.init_from} has {name} {value} and cannot be trained further "
                f"with {getattr(args, name)}: leave the flag, or the --preset, out"
            )
    if args.optimizer is None and args.learning_rate is None:  # small steps from what it knows
        args.optimizer, args.learning_rate = "adamw", 1e-4
    return model, tokenizer


def _started(args, team, files, text, config, base, tokenizer):
    """A new Run: the text tokenized, the model made."""
    directory = Path(args.out_dir)
    tokens_dir = args.tokens_dir and str(Path(args.tokens_dir).resolve())
    where = _tokens_at(directory, tokens_dir, text)
    tokenizer, tokens = tokenize(files, where, text, reading, tokenizer)
    model_config = _from_flags(GPTConfig, args, vocab_size=tokenizer.vocab_size)
    if base:
        model_config = replace(base.config, dropout=args.dropout or 0.0)
    check_memory(model_config, config, team)
    settings = {
        "command": shlex.join(["python", *sys.argv, *_procs(team)]),
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__},
        "files": [str(path.resolve()) for path in files],
        "text": text,
        "tokens_dir": tokens_dir,  # None: in the run, wherever that is moved
        "init_from": args.init_from and str(Path(args.init_from).resolve()),
        "model": asdict(model_config),
        "training": asdict(config),
    }
    write_json(directory / "settings.json", settings)
    model = TinyGPT(model_config, None if base else np.random.default_rng(config.seed))
    if base:
        model.load_state_dict(base.state_dict(), assign=True)
    run = Run(directory, Training(model, config), tokenizer, tokens, settings)
    run.save()
    return run


def _tokens_at(run, tokens_dir, text):
    """Where the tokens of a text are: in the run, or in a shared directory, each text its own."""
    if tokens_dir is None:
        return run / "tokens"
    key = zlib.crc32(json.dumps(text, sort_keys=True).encode())
    return Path(tokens_dir) / f"{text['kind']}-{key:08x}"


def _resumed(directory, args, files):
    """The Run of a directory as it was saved last."""
    arrays, header = load_arrays(directory / "state.safetensors", sealed=True)
    if "settings" not in header or "done" not in header:
        raise ValueError(f"{directory / 'state.safetensors'} is not the state of a run")
    settings = json.loads(header["settings"])
    _check_flags(args, settings)
    shown = directory / "settings.json"
    with contextlib.suppress(ValueError):
        if read_json(shown) != settings:
            print(f"{shown} is not what the run began with, and is written anew", file=sys.stderr)
    before = json.dumps(settings)
    for name in _CHANGEABLE & vars(args).keys():
        if getattr(args, name) is not None:
            settings["training"][name] = getattr(args, name)
    config = TrainConfig(**settings["training"])
    if files and digest(files, reading) != settings["text"]["text"]:
        raise ValueError(
            f"{' '.join(args.files)} is not the text of the run in {directory}, or was changed "
            "since: leave it out to go on with the text as it was, or start another run"
        )
    model = TinyGPT(GPTConfig(**settings["model"]), None)
    training = Training(model, config)
    training.restore(arrays, header)
    best = directory / "model.safetensors"
    if training.evaluations and best.exists():
        load(directory)  # say now, and not at the end, if it is damaged
        notes = json.loads(load_arrays(best)[1].get("notes", "null")) or {}
        if notes.get("run") != _identity(settings):
            raise ValueError(f"{best} belongs to another run than state.safetensors beside it")
    run = Run(directory, training, *_resumed_tokens(directory, settings), settings)
    write_json(shown, settings)
    if json.dumps(settings) != before:
        run.save()
    return run


def _resumed_tokens(run, settings):
    """The tokenizer and the tokens of a run, made again if they are gone and the text is not."""
    text = settings["text"]
    directory = _tokens_at(run, settings["tokens_dir"], text)
    try:
        return open_tokens(directory, text)
    except ValueError as lost:
        try:
            files = text_files(settings["files"])
            if digest(files, reading) != text["text"]:
                raise ValueError("the text was changed since the run began")
        except ValueError as gone:
            raise ValueError(f"{lost}; and it cannot be made again: {gone}") from gone
        return tokenize(
            files, directory, text, reading, load_tokenizer(run) if settings["init_from"] else None
        )


def _identity(settings):
    """The same for runs that do the same."""
    training = {k: v for k, v in settings["training"].items() if k not in _CHANGEABLE}
    same = [settings[name] for name in ("text", "model", "init_from")]
    same = json.dumps([*same, training], sort_keys=True)
    return f"{zlib.crc32(same.encode()):08x}"


def _check_flags(args, settings):
    """A flag beside --resume may repeat what the run was started with."""
    before = {**settings["training"], **settings["model"]}
    before |= {"tokens_dir": settings["tokens_dir"], "tokenizer": settings["text"]["kind"]}
    before |= {"vocab_size": settings["text"]["vocab_size"], "init_from": settings["init_from"]}
    given = {name: value for name, value in vars(args).items() if name in before}
    for name in ("tokens_dir", "init_from"):
        if given[name]:
            given[name] = str(Path(given[name]).resolve())
    for name, value in given.items():
        if value not in (None, before[name]) and name not in _CHANGEABLE:
            raise ValueError(
                f"the run has {name} {before[name]} and cannot go on with {value}: leave the flag, "
                "or the --preset, out, or start another run"
            )


def _train(run, team):
    """Say what is ahead, train, and say what came out."""
    training, directory = run.training, run.directory
    c, model = training.config, training.model
    needed = memory_needed(model.config, c, team.size) / 1e6
    each = f" in each of {team.size} processes" if team.size > 1 else ""
    print(
        f"{len(run.tokens):,} tokens for training, {len(run.validation):,} for validation, "
        f"vocabulary {run.tokenizer.vocab_size:,}\n"
        f"Model: {count(model):,} parameters; about {needed:,.0f} MB of memory{each} "
        f"for {c.max_iters - training.iteration:,} iterations",
        flush=True,
    )
    _lead(training, team)
    print(f"Expected time: about {duration(_expected_seconds(run))}", flush=True)
    train(training, run.next_batch, run)
    if not training.finished:
        raise KeyboardInterrupt(
            f"stopped after iteration {training.iteration} of {c.max_iters}, all is saved; go on "
            f"with: python tinygpt.py train --out-dir {shlex.quote(str(directory))} --resume"
            f"{' '.join(['', *_procs(team)])}"
        )
    run.plot()
    best, tokenizer = load(directory)
    tokens = run.validation[:500_000]  # what takes a minute or two is not worth more
    loss, T = mean_loss(best, tokens), model.config.block_size
    size = len(tokenizer.decode(tokens[1:].tolist()).encode())
    reason = "" if training.iteration >= c.max_iters else f" ({c.patience} evaluations no better)"
    print(
        f"Finished after {training.iteration} iterations{reason}; the best model, of iteration "
        f"{training.best[0]}, and training_loss.png are in {directory}\n"
        f"Validation loss {figures_of(loss, len(tokens) - 1, size, T, T)}"
    )


def _lead(training, team):
    """Let the other processes train this, too."""
    check_procs(training.config, team)
    team.send((training.model.config, training.config))
    training.lead(team)


def _follow(team):
    """What the others do: they train what the first one trains, if it trains."""
    if configs := team.receive():
        model, config = configs
        Training(TinyGPT(model, None), config).follow(team)


def _procs(team):
    """The flag that starts as many processes."""
    return ["--procs", str(team.size)] if team.size > 1 else []


def parameter_count(config: GPTConfig) -> int:
    """The number of parameters of a model that is not made yet."""
    c, b = config, config.bias
    norm = c.n_embd * (1 + b)
    attention = 4 * c.n_embd**2 + b * 4 * c.n_embd
    feed_forward = 2 * c.n_embd * c.d_ff + b * (c.d_ff + c.n_embd)
    tables = c.vocab_size * (2 - c.tie_weights) + c.block_size * (c.positions == "learned")
    blocks = c.n_layer * (attention + feed_forward + 2 * norm)
    return tables * c.n_embd + blocks + c.norm_first * norm


def memory_needed(config: GPTConfig, training: TrainConfig, procs: int = 1) -> float:
    """About how many bytes each process takes, from what was measured of several sizes."""
    c, rows = config, _rows(config, training, procs)
    attention = (2 + 3 * (c.dropout > 0)) * c.n_head * c.block_size  # dropout keeps its masks
    block = 8 * c.n_embd + 3 * c.d_ff + attention
    kept = block + c.n_layer * c.n_embd if training.activation_checkpointing else c.n_layer * block
    token = kept + 2 * c.vocab_size
    parameters = parameter_count(c)
    threads = threads_for(parameters, training.batch_size // procs, c.block_size)
    copies = 3 + (threads if procs == 1 else 1)  # weights, two moments, and gradients
    return 4 * (copies * parameters + rows * c.block_size * token) + 50e6


def _rows(config, training, procs):
    """How many sequences go through the model of a process at a time."""
    share = -(-training.batch_size // procs)
    return min(share, training.micro_batch_size or sequences_at_once(share, config.block_size))


def check_procs(training: TrainConfig, team: Team) -> None:
    """Raises ValueError if a batch has less than a sequence for each process."""
    if team.size > training.batch_size:
        raise ValueError(
            f"{team.size} processes cannot share a batch of {training.batch_size} sequences: take "
            f"{training.batch_size} at most, or for a new run a larger --batch-size"
        )


def check_memory(config: GPTConfig, training: TrainConfig, team: Team) -> None:
    """Raises ValueError if the machine does not have the memory for a training."""
    needed, there = team.here * memory_needed(config, training, team.size), machine_memory()
    if needed > there:
        where = f" in each of {team.here} processes" if team.here > 1 else ""
        fewer = ", or fewer processes" if team.here > 1 else ""
        raise ValueError(
            f"a model of {parameter_count(config):,} parameters, {config.block_size} tokens and "
            f"{_rows(config, training, team.size)} sequences at once{where} takes about "
            f"{needed / 1e9:.1f} GB of memory, this machine has {there / 1e9:.1f} GB: take a "
            f"smaller model, --block-size or --micro-batch-size{fewer}"
        )


def _expected_seconds(run):
    """How long the iterations left will take, from one that is tried and thrown away."""
    training, c, procs = run.training, run.training.config, run.training.team.size
    ids, targets = run.next_batch(np.random.default_rng(0))
    rows = min(c.batch_size, procs * _rows(training.model.config, c, procs))
    for _ in range(2):  # the first is slower
        started = time.monotonic()
        training.gradients(ids[:rows], targets[:rows])
        seconds = (time.monotonic() - started) * c.batch_size / rows
    return seconds * (c.max_iters - training.iteration)


def run_evaluate(args: argparse.Namespace) -> None:
    """The loss of a saved model on a text."""
    model, tokenizer = load(args.dir)
    window = model.config.block_size if args.window is None else args.window
    stride = window if args.stride is None else args.stride
    tokens, size, unknown = [], 0, 0
    for path in text_files([args.file]):
        for piece in read_pieces(path):
            ids = tokenizer.encode(piece)
            tokens.append(np.array(ids, np.int32))
            size += len(piece.encode())
            unknown += sum(i == UNK for i in ids) if tokenizer.kind == "word" else 0
    tokens = np.concatenate(tokens)
    with Progress(max(0, len(tokens) - 1), job="evaluating", unit="token") as progress:
        loss = mean_loss(model, tokens, stride, window, advance=progress.update)
    size -= len(tokenizer.decode(tokens[:1]).encode())  # nothing predicts the first
    print(f"{args.file}: loss {figures_of(loss, len(tokens) - 1, size, window, stride)}")
    if unknown:
        print(
            f"{unknown:,} of {len(tokens):,} words are <UNK>, which is easy to predict: not to be "
            "compared with other tokenizers"
        )


def run_plot(args: argparse.Namespace) -> None:
    """Draw the losses of several runs into one picture."""
    runs = {name: read_metrics(Path(name) / "metrics.jsonl") for name in args.runs}
    if empty := [name for name, metrics in runs.items() if not metrics]:
        raise ValueError(f"nothing to draw: no iteration of {', '.join(empty)} is done yet")
    plot_losses(Path(args.output), runs)
    print(f"Losses of {', '.join(runs)}: {args.output}")


@no_grad()
def run_explain(args: argparse.Namespace) -> None:
    """Draw where each head looks in a text, and what the model expects after each token."""
    model, tokenizer = load(args.dir)
    ids = tokenizer.encode(args.text)
    if not 1 <= len(ids) <= model.config.block_size:
        raise ValueError(
            f"a text of {len(ids)} tokens: give one of 1 to {model.config.block_size} (ten to "
            "thirty are easy to read)"
        )
    logits = model(ids).data
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    best = np.argsort(-p, axis=-1)[:, :5]
    expected = [
        [(tokenizer.decode([i]), float(row[i])) for i in top.tolist()]
        for row, top in zip(p, best, strict=True)
    ]
    tokens = [tokenizer.decode([i]) for i in ids]
    plot_attention(Path(args.output), tokens, model.attention_weights(ids), expected)
    print(f"{len(ids)} tokens, {model.config.n_layer} layers of {model.config.n_head} heads: "
          f"{args.output}")  # fmt: skip


def run_generate(args: argparse.Namespace) -> None:
    """Continue a prompt with a saved model, on the screen as it comes."""
    options = {
        n: getattr(args, n) for n in "temperature top_k top_p min_p repetition_penalty".split()
    }
    check_sampling(args.max_new_tokens, **options)
    if args.num_samples < 1 or "" in args.stop or (args.seed or 0) < 0:
        raise ValueError(
            "--num-samples must be at least 1, --stop not empty, --seed not negative; got "
            f"{args.num_samples}, {args.stop} and {args.seed}"
        )
    model, tokenizer = load(args.dir)
    rng = np.random.default_rng(args.seed)

    def answer(prompt):
        ids = tokenizer.encode(prompt)
        if not ids:
            raise ValueError("the prompt is empty: give --prompt at least one word or character")
        if tokenizer.kind == "word" and tokenizer.unknown(prompt):
            unknown = ", ".join(tokenizer.unknown(prompt))
            print(f"words the model has never seen, read as <UNK>: {unknown}", file=sys.stderr)
        rows = model.stream(
            [ids] * args.num_samples, args.max_new_tokens, stop=tokenizer.stop, rng=rng, **options
        )
        if args.num_samples > 1:  # side by side, so none can be shown before the last token
            rows = np.array([*rows]).reshape(-1, args.num_samples)
        for n in range(args.num_samples):
            print("-" * 40 + "\n" if n else "", tokenizer.decode(ids), sep="", end="", flush=True)
            drawn = itertools.takewhile(
                lambda i: i != tokenizer.stop, (int(row[n]) for row in rows)
            )
            for piece in text_of(tokenizer, ids, drawn, args.stop):
                print(piece, end="", flush=True)
            print()

    if args.prompt is None and sys.stdin.isatty():
        print("Type a prompt; an empty line ends it.", file=sys.stderr)
        while prompt := _ask():
            with _one_line_errors():
                answer(prompt)
    elif args.prompt is None:  # any token to begin with
        answer(tokenizer.decode([int(rng.choice(tokenizer.starts()))]))
    else:
        answer(args.prompt)


def _ask():
    with contextlib.suppress(EOFError):
        return input("> ")


@contextlib.contextmanager
def _one_line_errors():
    try:
        yield
    except BrokenPipeError:
        raise
    except (ValueError, OSError, MemoryError) as error:
        print(f"tinygpt.py: {' '.join(str(error).split())}", file=sys.stderr)


# ---------------------------------------------------------------- command line


def _from_flags(cls, args, **others):
    """A config dataclass from the flags that carry its fields' names and were given."""
    flags = {k: v for k, v in vars(args).items() if k in cls.__annotations__ and v is not None}
    return cls(**{**flags, **others})


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help lists all options)\n")


def parser() -> argparse.ArgumentParser:
    main = _Parser(prog="tinygpt.py", description="With no command: the five-sentence example.")
    main.add_argument("--seed", type=int, default=0, help="for the example (default 0)")
    commands = main.add_subparsers(dest="command", metavar="COMMAND")

    add = commands.add_parser("train", help="train on a text, or go on with a run").add_argument
    add("files", nargs="*", metavar="FILE", help="UTF-8 texts, or folders of them; the last tenth "
        "is for validation")  # fmt: skip
    add("--out-dir", required=True, metavar="RUN", help="the directory for all of the run")
    add("--resume", action="store_true", help="go on with the run in --out-dir, to the same bits")
    add("--procs", type=int, metavar="N", help="share each batch among N processes, one for each "
        "core (needs the extra mpi; default 1)")  # fmt: skip
    add("--init-from", metavar="DIR", help="train a model further: a RUN, or a GPT-2 folder")
    add("--preset", choices=PRESETS, help="sizes by name; other flags change them")
    add("--tokenizer", choices=TOKENIZERS, help="(default char)")
    add("--vocab-size", type=int, metavar="N", help="for bpe (default 5000) or word (default all)")
    add("--tokens-dir", metavar="DIR", help="where the text goes as tokens, for several runs to "
        "share (default RUN/tokens)")  # fmt: skip
    for cls, names in (
        (GPTConfig, "n_layer n_head n_embd d_ff block_size dropout"),
        (TrainConfig, " ".join(TrainConfig.__annotations__)),
    ):
        for name in names.split():
            default = getattr(cls, name)
            kind = type(default) if default is not None else int if name == "d_ff" else float
            shown = DERIVED.get(name, default)
            choices = CHOICES.get(name)
            if isinstance(default, bool):
                add("--" + name.replace("_", "-"), action="store_true", default=None, help=shown)
                continue
            add("--" + name.replace("_", "-"), type=kind, choices=choices,
                metavar=None if choices else "N", help=f"(default {shown})")  # fmt: skip

    add = commands.add_parser("evaluate", help="loss and perplexity on a text").add_argument
    add("dir", metavar="RUN", help="the --out-dir of a training, or a GPT-2 folder")
    add("file", metavar="FILE", help="a UTF-8 text, or a folder of them")
    add("--window", type=int, metavar="N", help="tokens at once (default block_size)")
    add("--stride", type=int, metavar="N", help="tokens from one window to the next (default: the "
        "window); with 1 every token has its full context")  # fmt: skip

    add = commands.add_parser("plot", help="the losses of runs, in one picture").add_argument
    add("runs", nargs="+", metavar="RUN", help="the --out-dir of a training")
    add("--output", default="losses.png", metavar="FILE", help="a PNG (default losses.png)")

    add = commands.add_parser("explain", help="a picture of the attention").add_argument
    add("dir", metavar="RUN", help="the --out-dir of a training, or a GPT-2 folder")
    add("text", metavar="TEXT", help="ten to thirty tokens")
    add("--output", default="attention.png", metavar="FILE", help="a PNG (default attention.png)")

    add = commands.add_parser("generate", help="continue a prompt").add_argument
    add("dir", metavar="RUN", help="the --out-dir of a training, or a GPT-2 folder")
    add(
        "--prompt",
        metavar="TEXT",
        help="the text to continue (default: it asks, in a terminal; elsewhere a token at random)",
    )
    add("--max-new-tokens", type=int, default=300, metavar="N", help="(default 300)")
    add("--temperature", type=float, default=0.8, metavar="T", help="0: likeliest (default 0.8)")
    add("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens only")
    add("--top-p", type=float, metavar="P", help="draw from the likeliest tokens that sum to P")
    add("--min-p", type=float, metavar="P", help="... that are P times as likely as the likeliest")
    add("--repetition-penalty", type=float, default=1.0, metavar="R", help="above 1: fewer repeats")
    add("--stop", action="append", default=[], metavar="TEXT", help="end before this text")
    add("--num-samples", type=int, default=1, metavar="N", help="several texts (default 1)")
    add("--seed", type=int, metavar="N", help="for the same text every time")
    return main


def main(arguments: list[str] | None = None) -> None:
    if hasattr(sys.stdout, "reconfigure"):  # a terminal may lack letters that a text has
        sys.stdout.reconfigure(errors="replace")
    with _exit_codes():
        team = world()
    with team, _exit_codes():
        _follow(team) if team.rank else _command(arguments, team)


def _command(arguments, team):
    """What the command line says."""
    args = parser().parse_args(arguments)
    if args.command == "train":
        if args.procs is not None:
            launch(args.procs, [__file__, *_without_procs(arguments)])
        run_train(args, team)
        return
    {
        "evaluate": run_evaluate, "plot": run_plot, "explain": run_explain,
        "generate": run_generate, None: lambda args: run_example(args.seed),
    }[args.command](args)  # fmt: skip


def _without_procs(arguments):
    flag = argparse.ArgumentParser(add_help=False)
    flag.add_argument("--procs")
    return flag.parse_known_args(arguments)[1]


@contextlib.contextmanager
def _exit_codes():
    """Errors of the user and of the machine in one line, with exit code 2; Ctrl-C with 130."""
    try:
        yield
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, MemoryError) as error:
        print(f"tinygpt.py: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"\ntinygpt.py: {str(stop) or 'stopped'}", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
