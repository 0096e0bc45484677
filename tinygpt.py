"""A small language model, whole: config, model, loss, generation, training, command line.

    python tinygpt.py                                      five sentences; --tour explains it
    python tinygpt.py train FILE --out-dir RUN             train on a text
    python tinygpt.py train --out-dir RUN --resume         go on where it stopped
    python tinygpt.py train FILE --out-dir RUN --procs 4   on four cores
    python tinygpt.py evaluate RUN FILE                    loss and perplexity on a text
    python tinygpt.py plot RUN RUN                         the losses of several runs
    python tinygpt.py generate RUN --prompt "To be"        continue a prompt
    python tinygpt.py chat PATH                            talk with a model made for it
    python tinygpt.py explain RUN "To be or not"           draw what each attention head looks at

Read this file from top to bottom. Its layers are in nn/, and the derivatives below them in
autograd/. nn/run/ keeps a long training safe: files, tokenizers, processes, pictures. `train`
makes the model of nn/llama.py, to be read next, or with --arch gpt the one here.
In shapes, B is the number of sequences, T of positions, C of channels, V of tokens.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

import nn
import nn.sampling
from autograd import Tensor, no_grad
from autograd import __version__ as __version__
from nn.config import option, require
from nn.files import save_model
from nn.functional import IGNORE_INDEX, linear, linear_cross_entropy
from nn.gguf import load_gguf
from nn.gpt2 import gpt2_misfits, load_gpt2, save_gpt2
from nn.llama import Llama, LlamaConfig
from nn.llama_config import kept_per_token as kept_by_llama
from nn.llama_files import FAMILIES, save_llama
from nn.run.architectures import all_options, several
from nn.run.chat import chat
from nn.run.command import command_line, exit_codes, given, interrupts, output_is_optional, select
from nn.run.contract import Architecture
from nn.run.directory import Run, RunRequest, compare_runs, follow, load_folder, open_run
from nn.run.evaluation import evaluate_text, mean_loss
from nn.run.explain import explain
from nn.run.monitor import Progress, duration, plot_losses
from nn.run.plan import expected_seconds
from nn.run.team import Team, launch, started_from, without_procs, world
from nn.run.tokenizers import END, PAD, START, BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer
from nn.run.tokens import random_batch
from nn.run.training import TrainConfig, Training
from nn.run.writer import write
from nn.sampling import Sampling
from nn.transformer import Activation

__all__ = [
    "BPETokenizer", "CharTokenizer", "GPTConfig", "Llama", "LlamaConfig", "Sampling", "TinyGPT",
    "TrainConfig", "Training", "WordTokenizer", "generate", "load", "main", "mean_loss",
    "random_batch", "save", "train",
]  # fmt: skip

# ---------------------------------------------------------------- the model


@dataclass
class GPTConfig:
    """The sizes and parts of a model. The defaults are those of nanoGPT's example for a CPU."""

    vocab_size: int
    block_size: int = option(64, "tokens that the model sees at most; more: more memory, time")
    n_layer: int = option(4, "number of blocks; more: slower, better on much text")
    n_head: int = option(4, "heads of attention in each block")
    n_embd: int = option(128, "width: numbers for each position, a multiple of n_head")
    d_ff: int = option(None, "width of the feed-forward layers (default 8/3 n_embd; gpt: 4 n_embd)")
    dropout: float = option(0.0, "gpt: part of entries set to 0 in training; 0.2 on little text")
    bias: bool = option(False, "gpt: add biases in the linear layers and norms (default: no)")
    positions: Literal["learned", "sinusoidal"] = option("learned", "gpt: learned, or sines")
    activation: Activation = option("gelu", "gpt: function in the feed-forward layers")
    norm_first: bool = option(True, "gpt: normalize before each layer (default) or after it")
    tie_weights: bool = option(True, "the last layer uses the table of the tokens (default: yes)")
    eps: float = 1e-5  # of the layer norms
    scale_attention: bool = True  # by 1 / sqrt(width of a head)
    scale_by_layer: bool = False  # also by 1 / (n + 1) in layer n, from 0
    token_ids: dict[str, Any] | None = None  # eos_token_id and others; None: of the tokenizer
    arch: Literal["gpt"] = "gpt"

    def __post_init__(self):
        require(self, "vocab_size block_size n_layer n_head n_embd", 1)
        self.d_ff = 4 * self.n_embd if self.d_ff is None else self.d_ff
        require(self, "d_ff", 1)
        require(self, "dropout eps", 0, below=1)
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd {self.n_embd} cannot be divided among n_head {self.n_head}: choose a "
                f"width such as {self.n_head * -(-self.n_embd // self.n_head)}"
            )


class TinyGPT(nn.Module):
    """A decoder-only transformer: integers (T,) or (B, T) to logits (..., T, V)."""

    activation_checkpointing = False  # True: training keeps only the input of each block

    def __init__(self, config: GPTConfig, rng: np.random.Generator | None):
        """Draws the weights from `rng` as GPT-2 does; zeros, to be loaded, if it is None."""
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
                c.n_embd, c.n_head, c.d_ff, rng, norm_first=c.norm_first, activation=c.activation,
                bias=c.bias, dropout=c.dropout, eps=c.eps,
                scale=1 / (width * (n + 1 if c.scale_by_layer else 1)),
            )
            for n in range(c.n_layer)
        ]  # fmt: skip
        for name, p in self.named_parameters():  # as in GPT-2: sums over blocks stay small
            if rng and p.ndim == 2 and name.startswith("blocks."):
                std = 0.02 / (math.sqrt(2 * c.n_layer) if "projection" in name else 1)
                p.data *= std * math.sqrt(len(p.data))  # from the std of Linear, 1 / sqrt(in)
        if c.norm_first:
            self.norm = nn.LayerNorm(c.n_embd, bias=c.bias, eps=c.eps)
        if not c.tie_weights:
            self.head = nn.Linear(c.n_embd, c.vocab_size, rng, bias=False)

    def __call__(
        self, ids: Any, caches: list[nn.KVCache] | None = None,
        padding: np.ndarray | None = None, last: int = 0,
    ) -> Tensor:  # fmt: skip
        """The logits of the next token after each position, or only after the `last` ones.

        `caches`, one for each block, hold the positions before ids. `padding` (B,) says how many
        positions at the start of each row hold no token.
        """
        x = self._hidden(ids, caches, padding)  # (..., T, C)
        return linear(x[..., -last:, :] if last else x, self._table().T)

    def loss(self, ids: Any, targets: Any, ignore_index: int = IGNORE_INDEX) -> Tensor:
        """The mean cross entropy of targets, which have the shape of ids, in nats per token."""

        def loss(ids, targets):
            return linear_cross_entropy(self._hidden(ids), self._table(), targets, ignore_index)

        return nn.share_batch(loss, self, ids, targets, ignore_index=ignore_index)  # by threads

    def _hidden(self, ids, caches=None, padding=None):
        ids = np.asarray(ids)
        before = caches[0].length if caches else 0
        S = before + ids.shape[-1]  # all positions so far
        if self.config.block_size < S:
            raise ValueError(f"{S} tokens do not fit into block_size {self.config.block_size}")
        positions, mask = np.arange(before, S), None
        if padding is not None:
            positions = np.maximum(positions - padding[:, None], 0)  # (B, T)
            mask = (np.arange(S) >= padding[:, None])[:, None, None]  # (B, 1, 1, S)
        x = self._embed(ids, positions)  # (..., T, C)
        for n, block in enumerate(self.blocks):
            if self.activation_checkpointing and self.training:
                x = nn.checkpoint_activations(block, x, mask)
            else:
                x = block(x, mask, caches[n] if caches else None)
        return self.norm(x) if self.config.norm_first else x

    def _embed(self, ids, positions):
        x = self.token_embedding(ids)
        if self.config.positions == "learned":
            x = x + self.position_embedding(positions)
        else:
            x = x + self.position_table[positions].astype(x.dtype)
        return self.dropout(x)

    def _table(self):
        """The weights of the last layer: a vector for each token, (V, C)."""
        return self.token_embedding.weight if self.config.tie_weights else self.head.weight.T

    def matrices(self) -> list[dict[str, Any]]:
        """The matrices of the blocks, which nn.Muon moves. It moves q, k and v separately."""
        found = [(n, p) for n, p in self.named_parameters() if n.startswith("blocks.")]
        side_by_side = [p for name, p in found if name.endswith("qkv.weight")]
        others = [p for name, p in found if p.ndim == 2 and not name.endswith("qkv.weight")]
        return [{"params": others}, {"params": side_by_side, "split": 3}]

    @no_grad()
    def attention_weights(self, ids: Any) -> np.ndarray:
        """How much each position of ids (T,) looks at each position, per head: (L, H, T, T)."""
        x, weights = self._embed(np.asarray(ids), np.arange(len(ids))), []
        for block in self.blocks:
            weights.append(block.attention.weights(block.norm1(x) if block.norm_first else x).data)
            x = block(x)
        return np.array(weights)

    # Generation with a cache, and files. The function `generate` below is the plain way.

    def generate(self, ids: Any, max_new_tokens: int, **options: Any) -> Any:
        """ids (T,) or (B, T), or a list of prompts, with up to max_new_tokens more each.

        `options` are those of nn.sampling.stream: the fields of Sampling, and stop and rng.
        """
        return nn.sampling.generate(self, ids, max_new_tokens, **options)

    def stream(self, ids: Any, max_new_tokens: int, **options: Any) -> Iterator[Any]:
        """Yields each new token as it is drawn: an int for ids (T,), an array (B,) for prompts."""
        return nn.sampling.stream(self, ids, max_new_tokens, **options)

    def decoder(self) -> Callable[..., np.ndarray]:
        """A function from rows (B, T) and their padding (B,) to the next logits (B, V)."""
        return nn.cached_decoder(self)

    @classmethod
    def from_pretrained(cls, directory: Path | str) -> TinyGPT:
        """The model of a run, or of a GPT-2 folder of Hugging Face's, with its file mapped.

        Raises ValueError naming the key of config.json or the weight that is wrong.
        """
        return load_gpt2(directory, cls, GPTConfig)

    def save_pretrained(self, directory: Path | str, tokenizer: Tokenizer | None = None) -> None:
        """Write a folder that from_pretrained and Hugging Face's GPT2LMHeadModel can open.

        Raises ValueError naming what this model has and GPT-2 does not.
        """
        save_gpt2(directory, self, tokenizer)


def kept_per_token(config: GPTConfig, checkpointing: bool) -> float:
    """About how many numbers are kept for backward per token, as measured at several sizes."""
    L, C, masks = config.n_layer, config.n_embd, 3 * (config.dropout > 0)
    block = 8 * C + 3 * config.d_ff + (2 + masks) * config.n_head * config.block_size
    return (block + L * C if checkpointing else L * block) + 2 * config.vocab_size


def save(directory: Path, model: TinyGPT, tokenizer: Tokenizer, notes: Any = None) -> None:
    """Write config.json, the tokenizer and model.safetensors, as a GPT-2 folder if possible."""
    (save_model if gpt2_misfits(model.config) else save_gpt2)(directory, model, tokenizer, notes)


# These are handed to nn/run/, which never imports this file.
ARCHITECTURES = {
    "gpt": Architecture(TinyGPT, GPTConfig, save, TinyGPT.from_pretrained, kept_per_token,
                        types=("gpt2",)),
    "llama": Architecture(Llama, LlamaConfig, save_llama, Llama.from_pretrained, kept_by_llama,
                          lambda path: load_gguf(path, Llama, LlamaConfig), FAMILIES),
}  # fmt: skip
ARCHITECTURE = several(ARCHITECTURES, default="llama")


def load(path: Path | str) -> tuple[Any, Tokenizer]:
    """The model and tokenizer of a run, a folder of Hugging Face's, or a .gguf file.

    Raises ValueError if there is none, or if it is of a family that is not built here.
    """
    return load_folder(path, ARCHITECTURE)


@no_grad()
def generate(
    model: Any, ids: Any, max_new_tokens: int, sampling: Sampling, rng: np.random.Generator
) -> list[int]:
    """ids (T,) with max_new_tokens more, the plain way. `model.generate` does the same, faster."""
    ids = list(ids)
    for _ in range(max_new_tokens):
        logits = model(ids[-model.config.block_size :]).data[-1:]  # (1, V), after the last token
        ids += sampling.draw(logits, rng, [ids]).tolist()
    return ids


# ---------------------------------------------------------------- training


def train(
    training: Training,
    next_batch: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
    run: Run | None = None, ignore_index: int = IGNORE_INDEX,
) -> list[float]:  # fmt: skip
    """Train until `training` is finished, or until Ctrl-C; returns the losses of this call.

    `run`, if given, saves the state to disk, and evaluates every eval_interval iterations.
    """
    c, losses, started = training.config, [], time.monotonic()
    with Progress(c.max_iters, training.iteration) as progress, interrupts() as interrupted:
        while True:
            if run and run.evaluation_is_due():
                run.save()  # before the evaluation, which may fail
                run.evaluate(progress)
            if training.finished or interrupted or training.crew.stopped:
                break
            rate = c.rate(training.iteration)
            rng = training.rng()  # depends only on the seed and the iteration
            ids, targets = next_batch(rng)  # (B, T) each
            # loss = model.loss(ids, targets); loss.backward(), in parts, by threads and processes:
            loss = training.backward(ids, targets, rng, ignore_index)
            norm = training.clip()  # scales the gradients to a norm of grad_clip at most
            training.check(loss, norm)  # raises if one of them is nan or infinite
            training.step()  # AdamW and Muon move the weights
            losses.append(loss)
            last = training.evaluations[-1:]
            shown = {"validation": f"{last[0][1]:.3f}"} if last else {}
            if run:
                speed = len(losses) * ids.size / (time.monotonic() - started)
                run.record(loss=loss, learning_rate=rate, grad_norm=norm,
                           tokens_per_second=round(speed))  # fmt: skip
                shown["speed"] = f"{speed:,.0f} tokens/s"
            progress.update(loss=f"{loss:.3f}", **shown)
    if run:
        run.save()
    training.model.eval()
    return losses


# ---------------------------------------------------------------- the example

CORPUS = (
    "the cat sat on the mat",
    "the dog sat on the log",
    "the cat and the dog are friends",
    "the mat is on the floor",
    "the log is in the forest",
)


def run_example(seed: int = 0, say: Callable[[str], None] = print) -> float:
    """Train a model on five sentences and `say` what it has learnt; returns its loss."""
    rng = np.random.default_rng(seed)
    tokenizer = WordTokenizer().fit(CORPUS)
    say(f"Vocabulary: {tokenizer.vocab_size} tokens: {' '.join(tokenizer.tokens[:9])} ...")

    sentences = [[START, *tokenizer.encode(sentence), END] for sentence in CORPUS]
    T = max(map(len, sentences)) - 1
    rows = np.array([s + [PAD] * (T + 1 - len(s)) for s in sentences])
    ids, targets = rows[:, :-1], rows[:, 1:]  # (5, T): predict each token from those before it

    config = GPTConfig(
        tokenizer.vocab_size, block_size=16, n_layer=2, n_head=4, n_embd=64, d_ff=128, bias=True,
        positions="sinusoidal", activation="relu", norm_first=False,
    )  # fmt: skip
    model = TinyGPT(config, rng)
    say(f"Model: {config.n_layer} layers, {config.n_head} heads, width {config.n_embd}, "
        f"{sum(p.size for p in model.parameters()):,} parameters")  # fmt: skip
    recipe = TrainConfig(max_iters=300, warmup_iters=20, optimizer="adamw", learning_rate=3e-3,
                         seed=seed)  # fmt: skip
    losses = train(Training(model, recipe), lambda rng: (ids, targets), ignore_index=PAD)
    metrics = [{"iteration": i, "loss": loss} for i, loss in enumerate(losses, 1)]
    plot_losses(Path("training_loss.png"), {"example": metrics})
    say("Loss curve: training_loss.png\n")
    for prompt in ("the cat", "the dog", "the mat"):
        start = [START, *tokenizer.encode(prompt)]
        generated = model.generate(start, 12, temperature=0.8, stop=END, rng=rng)
        words = [i for i in generated[1:].tolist() if i != END]
        say(f"{prompt} -> {tokenizer.decode(words)}")
    with no_grad():
        loss = model.loss(ids, targets, ignore_index=PAD).item()
    say(f"\nAverage loss {loss:.4f} nats per word, perplexity {math.exp(loss):.3f}")
    return loss


# ---------------------------------------------------------------- commands

PRESETS: dict[str, dict[str, Any]] = {
    "demo": dict(n_layer=2, n_head=4, n_embd=64, d_ff=128, block_size=16, bias=True, batch_size=32,
                 norm_first=False, positions="sinusoidal", activation="relu", arch="gpt"),
    "shakespeare-cpu": dict(arch="gpt"),  # nanoGPT's train_shakespeare_char.py for a CPU
    "shakespeare-gpu": dict(n_layer=6, n_head=6, n_embd=384, block_size=256, dropout=0.2,
                            batch_size=64, max_iters=5000, arch="gpt"),
    "medium": dict(n_layer=12, n_head=8, n_embd=512, block_size=256, dropout=0.1, batch_size=16,
                   max_iters=5000, learning_rate=6e-4, warmup_iters=200, arch="gpt"),
    "smollm": dict(arch="llama", n_layer=30, n_head=9, n_kv_head=3, n_embd=576, block_size=2048,
                   rope_theta=1e4, qk_norm=False, tokenizer="bpe", vocab_size=49152, batch_size=8,
                   micro_batch_size=1, max_iters=20000, learning_rate=6e-4, warmup_iters=700),
    "gpt2": dict(n_layer=12, n_head=12, n_embd=768, block_size=1024, bias=True, tokenizer="bpe",
                 vocab_size=50257, batch_size=12, micro_batch_size=1, max_iters=20000,
                 learning_rate=6e-4, warmup_iters=700, beta2=0.95, arch="gpt"),
}  # fmt: skip

OPTIONS = all_options(ARCHITECTURES, ARCHITECTURE.defaults["arch"])
parser = functools.partial(command_line, OPTIONS, PRESETS)


def run_train(args: argparse.Namespace, team: Team) -> None:
    """Start a run in --out-dir, or go on with the one that is there."""
    options = {**PRESETS.get(args.preset, {}), **given(args)}
    sizes = select(options, OPTIONS)
    sizes.pop("vocab_size", None)  # the tokenizer decides it
    request = RunRequest(
        Path(args.out_dir), args.files, args.resume, sizes, select(options, TrainConfig),
        options.get("tokenizer"), options.get("vocab_size"), args.tokens_dir, args.init_from,
    )  # fmt: skip
    with open_run(request, ARCHITECTURE, team) as run:
        print(run.plan(team.size), flush=True)
        seconds = expected_seconds(run.training, *run.next_batch(np.random.default_rng(0)))
        print(f"Expected time: about {duration(seconds)}", flush=True)
        train(run.training, run.next_batch, run)
        print(run.report())


def run_evaluate(args: argparse.Namespace) -> None:
    """Print the loss of a saved model on a text."""
    print(evaluate_text(*load(args.dir), args.file, args.window, args.stride))


def run_plot(args: argparse.Namespace) -> None:
    """Draw the losses of several runs into one picture."""
    print(compare_runs(args.runs, Path(args.output)))


def run_explain(args: argparse.Namespace) -> None:
    """Draw where each head looks in a text, and what the model expects after each token."""
    print(explain(*load(args.dir), args.text, Path(args.output)))


def run_generate(args: argparse.Namespace) -> None:
    """Continue a prompt with a saved model, and show each token as it is drawn."""
    write(*load(args.dir), args)


def run_chat(args: argparse.Namespace) -> None:
    """Talk with a model that was made for it."""
    chat(*load(args.dir), args)


def main(arguments: list[str] | None = None) -> None:
    """Run a command line (None: sys.argv). An error is told in one line, with exit code 2."""
    with exit_codes():
        team = world()
    with team, exit_codes():
        if team.rank:
            follow(team, ARCHITECTURE)
            return
        args = parser().parse_args(arguments)
        if args.command == "train":
            launch(args.procs, [started_from(__file__), *without_procs(arguments)])
            with output_is_optional():
                run_train(args, team)
        elif args.command is None:
            run_example(args.seed or 0, args.say)
        else:
            globals()[f"run_{args.command}"](args)


if __name__ == "__main__":
    main()
