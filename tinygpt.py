"""A small language model, whole: tokenizer, model, training, generation, command line.

    python tinygpt.py                                      the five-sentence example
    python tinygpt.py train FILE --out-dir DIR             train on a text
    python tinygpt.py generate DIR --prompt "To be"        continue a prompt

The file is meant to be read from top to bottom. The layers are in nn/, the calculus below them
in autograd/. B sequences, T positions, C channels, V tokens.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nn
from autograd import Tensor, no_grad
from nn.checkpoint import load_arrays, save_arrays, write_atomically
from nn.functional import cross_entropy, linear

# ---------------------------------------------------------------- text to numbers

PAD, UNK, START, END = range(4)


class WordTokenizer:
    """Lower-case words, split at white space; a word that `fit` has not seen becomes <UNK>.

    >>> tokenizer = WordTokenizer().fit(["the cat sat", "the dog"])
    >>> tokenizer.encode("The cat flew")
    [7, 4, 1]
    >>> tokenizer.decode([7, 5])
    'the dog'
    """

    kind = "word"
    specials = ("<PAD>", "<UNK>", "<START>", "<END>")

    def __init__(self, tokens: Iterable[str] = specials):
        self.tokens = list(tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens)}

    def fit(self, text: str | Iterable[str]) -> WordTokenizer:
        """Take the vocabulary from a text, or several."""
        texts = [text] if isinstance(text, str) else text
        words = {word for t in texts for word in t.lower().split()}
        self.__init__([*self.specials, *sorted(words - {*self.specials})])
        return self

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(word, UNK) for word in text.lower().split()]

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(self.tokens[i] for i in ids)

    def unknown(self, text: str) -> list[str]:
        """The words of a text that encode to <UNK>."""
        return sorted({word for word in text.lower().split() if word not in self._ids})


class CharTokenizer:
    """One token per character; one that `fit` has not seen is an error.

    >>> tokenizer = CharTokenizer().fit("hello")
    >>> tokenizer.encode("hole")
    [1, 3, 2, 0]
    """

    kind = "char"

    def __init__(self, tokens: Iterable[str] = ()):
        self.tokens = list(tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens)}

    def fit(self, text: str | Iterable[str]) -> CharTokenizer:
        """Take the vocabulary from a text, or several."""
        self.__init__(sorted({character for t in text for character in t}))
        return self

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        try:
            return [self._ids[character] for character in text]
        except KeyError:
            raise ValueError(
                f"characters the model has never seen: {' '.join(map(repr, self.unknown(text)))}; "
                "leave them out, or train on a text that has them"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.tokens[i] for i in ids)

    def unknown(self, text: str) -> list[str]:
        """The characters of a text that cannot be encoded."""
        return sorted(set(text) - self._ids.keys())


TOKENIZERS = {"word": WordTokenizer, "char": CharTokenizer}

# ---------------------------------------------------------------- the model


def _require(config, names, low, below=math.inf):
    """Fields of a config within bounds, or a ValueError that names the field."""
    for name in names.split():
        value = getattr(config, name)
        if not low <= value < below:  # nan is not
            limit = f"below {below}" if below < math.inf else "finite"
            raise ValueError(f"{name} must be at least {low} and {limit}, got {value}")


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
    activation: str = "gelu"  # or "relu"
    norm_first: bool = True
    tie_weights: bool = True

    def __post_init__(self):
        self.d_ff = 4 * self.n_embd if self.d_ff is None else self.d_ff
        _require(self, "vocab_size block_size n_layer n_head n_embd d_ff", 1)
        _require(self, "dropout", 0, below=1)
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd {self.n_embd} cannot be divided among n_head {self.n_head}: choose a "
                f"width such as {self.n_head * -(-self.n_embd // self.n_head)}"
            )
        if self.positions not in ("learned", "sinusoidal"):
            raise ValueError(f"positions must be learned or sinusoidal, got {self.positions!r}")


class TinyGPT(nn.Module):
    """A decoder-only transformer: integers (T,) or (B, T) to logits (..., T, V)."""

    def __init__(self, config: GPTConfig, rng: np.random.Generator):
        c = self.config = config
        self.token_embedding = nn.Embedding(c.vocab_size, c.n_embd, rng)
        if c.positions == "learned":
            self.position_embedding = nn.Embedding(c.block_size, c.n_embd, rng)
        else:
            self.position_table = nn.sinusoidal_positions(c.block_size, c.n_embd)
        self.dropout = nn.Dropout(c.dropout, rng)
        self.blocks = [
            nn.Block(
                c.n_embd, c.n_head, c.d_ff, rng, c.norm_first, c.activation, c.bias, c.dropout
            )
            for _ in range(c.n_layer)
        ]  # fmt: skip
        for block in self.blocks:  # begin close to the identity, and keep the sum of all small
            for layer in (block.attention.projection, block.feed_forward.projection):
                layer.weight.data *= 0.1 / math.sqrt(2 * c.n_layer)
        if c.norm_first:
            self.norm = nn.LayerNorm(c.n_embd, c.bias)
        if not c.tie_weights:
            self.head = nn.Linear(c.n_embd, c.vocab_size, rng, bias=False)

    def __call__(self, ids: Any) -> Tensor:
        ids = np.asarray(ids)
        T = ids.shape[-1]
        if self.config.block_size < T:
            raise ValueError(f"{T} tokens do not fit into block_size {self.config.block_size}")
        x = self.token_embedding(ids)  # (..., T, C)
        if self.config.positions == "learned":
            x = x + self.position_embedding(np.arange(T))
        else:
            x = x + self.position_table[:T].astype(x.dtype)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        if self.config.norm_first:
            x = self.norm(x)
        if self.config.tie_weights:
            return linear(x, self.token_embedding.weight.T)
        return self.head(x)

    def loss(self, ids: Any, targets: Any, ignore_index: int = -100) -> Tensor:
        """The mean cross entropy of the targets (of the shape of ids), in nats per token."""
        return cross_entropy(self(ids), targets, ignore_index=ignore_index)

    @no_grad()
    def generate(
        self,
        ids: Any,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> np.ndarray:
        """ids (T,) or (B, T) with up to max_new_tokens more, each drawn given those before it.

        Ends when every sequence has drawn `stop`, which is kept and fills up the shorter ones.
        """
        _check_sampling(max_new_tokens, temperature, top_k, top_p)
        rng = np.random.default_rng() if rng is None else rng
        ids = np.array(ids)
        if ids.ndim not in (1, 2) or not ids.size:
            raise ValueError(f"generate: ids of shape {ids.shape}, expected (T,) or (B, T), T > 0")
        rows = np.atleast_2d(ids)
        done = np.zeros(len(rows), dtype=bool)
        was_training, _ = self.training, self.eval()
        try:
            for _ in range(max_new_tokens):
                logits = self(rows[:, -self.config.block_size :]).data[:, -1]  # (B, V)
                new = np.array([sample(row, temperature, top_k, top_p, rng) for row in logits])
                new[done] = 0 if stop is None else stop
                rows = np.concatenate([rows, new[:, None]], axis=1)
                done |= stop is not None and new == stop
                if done.all():
                    break
        finally:
            self.train(was_training)
        return rows if ids.ndim == 2 else rows[0]


def _check_sampling(max_new_tokens, temperature, top_k, top_p):
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must not be negative, got {max_new_tokens}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 (always the likeliest) or more, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}; leave it out for no limit")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")


def sample(
    logits: np.ndarray,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    rng: np.random.Generator,
) -> int:
    """A token drawn from softmax(logits / temperature), logits (V,).

    Only the top_k likeliest are eligible, and of those the fewest that hold probability top_p.
    """
    if not np.isfinite(logits).any() or np.isnan(logits).any():
        raise ValueError("the model gives nan: its training has diverged")
    if temperature == 0:
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")[:top_k]  # likeliest first
    scores = logits[order].astype(float) - logits[order[0]]
    with np.errstate(over="ignore"):  # a tiny temperature: -inf, probability 0
        p = np.exp(scores / temperature)
    cumulative = np.cumsum(p / p.sum())
    if top_p is not None:
        cumulative = cumulative[: np.searchsorted(cumulative, top_p) + 1]
    return int(order[np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")])


# ---------------------------------------------------------------- training


@dataclass
class TrainConfig:
    """How to train; the defaults are nanoGPT's for a CPU."""

    batch_size: int = 12
    max_iters: int = 2000
    learning_rate: float = 1e-3
    min_lr: float = 1e-4
    warmup_iters: int = 100
    beta2: float = 0.99
    weight_decay: float = 0.1
    grad_clip: float = 1.0  # 0: none
    eval_interval: int = 250
    eval_iters: int = 20
    seed: int = 1337

    def __post_init__(self):
        _require(self, "batch_size max_iters eval_interval eval_iters", 1)
        _require(self, "learning_rate min_lr warmup_iters weight_decay grad_clip seed", 0)
        _require(self, "beta2", 0, below=1)


def train(
    model: TinyGPT,
    next_batch: Callable[[], tuple[np.ndarray, np.ndarray]],
    config: TrainConfig,
    evaluate: Callable[[int], None] | None = None,
    ignore_index: int = -100,
) -> list[float]:
    """Train on the batches (ids, targets) drawn, with a progress bar; returns all losses.

    `evaluate(iteration)` is called every eval_interval iterations and after the last.
    """
    from tqdm import tqdm

    c, parameters, losses = config, model.parameters(), []
    optimizer = nn.AdamW(parameters, betas=(0.9, c.beta2), weight_decay=c.weight_decay)
    with tqdm(total=c.max_iters, desc="training", dynamic_ncols=True) as bar:
        for i in range(c.max_iters):
            rate = (c.learning_rate, c.min_lr, c.warmup_iters)
            optimizer.lr = nn.warmup_cosine(i, c.max_iters, *rate)
            optimizer.zero_grad()
            loss = model.train().loss(*next_batch(), ignore_index=ignore_index)
            loss.backward()
            if c.grad_clip:
                nn.clip_grad_norm(parameters, c.grad_clip)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise ValueError(
                    f"the loss became {losses[-1]} at iteration {i}: try a smaller learning rate"
                )
            optimizer.step()
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            bar.update()
            if evaluate and ((i + 1) % c.eval_interval == 0 or i + 1 == c.max_iters):
                evaluate(i + 1)
    model.eval()
    return losses


def random_batch(tokens: np.ndarray, T: int, B: int, rng: np.random.Generator):
    """B random windows (B, T) of a text, and the same one token later."""
    starts = rng.integers(len(tokens) - T, size=(B, 1)) + np.arange(T)
    return tokens[starts], tokens[starts + 1]


@no_grad()
def mean_loss(model: TinyGPT, tokens: np.ndarray, batch_size: int = 32) -> float:
    """Nats per token over a whole text, in windows of block_size side by side."""
    T = min(model.config.block_size, len(tokens) - 1)
    n = (len(tokens) - 1) // T * T  # the rest would be a window of another length
    ids, targets = tokens[:n].reshape(-1, T), tokens[1 : n + 1].reshape(-1, T)
    total = 0.0
    model.eval()
    for i in range(0, len(ids), batch_size):
        part = slice(i, i + batch_size)
        total += model.loss(ids[part], targets[part]).item() * targets[part].size
    return total / n


def plot_loss(path: Path, losses: list[float], evaluations: list[tuple[int, float]] = ()) -> None:
    """The loss curve as a PNG: every iteration, their running mean, and validation losses."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    x = np.arange(1, len(losses) + 1)
    axes.plot(x, losses, color="C0", alpha=0.35, linewidth=0.8, label="training, each batch")
    width = max(1, len(losses) // 50)
    running = np.convolve(losses, np.ones(width) / width, mode="valid")
    middle = x[width // 2 : width // 2 + len(running)]
    axes.plot(middle, running, color="C0", label=f"training, mean of {width}")
    if evaluations:
        axes.plot(
            *zip(*evaluations, strict=True), "o-", color="C1", label="validation", clip_on=False
        )
    axes.set(title="Training loss", xlabel="iteration", ylabel="cross entropy (nats per token)")
    axes.set_xlim(0, len(losses))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    write_atomically(path, FigureCanvasAgg(figure).print_png)


# ---------------------------------------------------------------- files


def save(directory: Path, model: TinyGPT, tokenizer: WordTokenizer | CharTokenizer) -> None:
    """Write model.safetensors: the weights, and in its header the config and the tokenizer."""
    header = {
        "config": json.dumps(asdict(model.config)),
        "tokenizer": json.dumps({"kind": tokenizer.kind, "tokens": tokenizer.tokens}),
    }
    save_arrays(Path(directory) / "model.safetensors", model.state_dict(), header)


def load(directory: Path) -> tuple[TinyGPT, WordTokenizer | CharTokenizer]:
    """The model and the tokenizer that `save` wrote. Raises ValueError if there are none."""
    path = Path(directory) / "model.safetensors"
    if not path.is_file():
        raise ValueError(f"no model in {directory}: give the --out-dir of `tinygpt.py train`")
    arrays, header = load_arrays(path)
    try:
        config, vocabulary = json.loads(header["config"]), json.loads(header["tokenizer"])
        model = TinyGPT(GPTConfig(**config), np.random.default_rng(0))
        model.load_state_dict(arrays)
        tokenizer = TOKENIZERS[vocabulary["kind"]](vocabulary["tokens"])
        if tokenizer.vocab_size != model.config.vocab_size:
            raise ValueError(f"{tokenizer.vocab_size} tokens in it, {model.config.vocab_size} used")
        return model, tokenizer
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a model written by tinygpt.py ({error!r})") from error


def read_text(path: str) -> str:
    """A text file, in UTF-8. Raises ValueError naming what is wrong with it."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start}): convert it, for instance with "
            f"`iconv -f latin1 -t utf-8`"
        ) from error
    if not text.strip():
        raise ValueError(f"{path} is empty: give a text of some thousand characters")
    return text


# ---------------------------------------------------------------- the three jobs

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
    losses = train(
        model, lambda: (ids, targets), TrainConfig(max_iters=300, warmup_iters=20), None, PAD
    )
    plot_loss(Path("training_loss.png"), losses)
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


def run_train(args: argparse.Namespace) -> None:
    """Train on a text file; the model with the lowest validation loss is kept in --out-dir."""
    config = _from_flags(TrainConfig, args)
    text = read_text(args.file)
    tokenizer = TOKENIZERS[args.tokenizer]().fit(text)
    tokens, T = np.array(tokenizer.encode(text)), args.block_size
    cut = len(tokens) * 9 // 10
    training, validation = tokens[:cut], tokens[cut:]
    if len(validation) <= T:
        raise ValueError(
            f"{args.file} is too short: its last tenth, for validation, has {len(validation)} "
            f"tokens and --block-size {T} needs {T + 1}; take a longer text or a smaller size"
        )
    rng = np.random.default_rng(config.seed)
    model = TinyGPT(_from_flags(GPTConfig, args, vocab_size=tokenizer.vocab_size), rng)
    directory = make_directory(args.out_dir)
    print(
        f"{args.file}: {len(training):,} tokens for training, {len(validation):,} for "
        f"validation, vocabulary {tokenizer.vocab_size:,}\nModel: {count(model):,} parameters"
    )
    evaluate, evaluations = keep_best(model, tokenizer, validation, config, directory)
    losses = train(
        model, lambda: random_batch(training, T, config.batch_size, rng), config, evaluate
    )
    plot_loss(directory / "training_loss.png", losses, evaluations)
    best, _ = min(evaluations, key=lambda pair: pair[1])
    loss = mean_loss(load(directory)[0], validation)
    bits = loss * len(validation) / math.log(2) / len(tokenizer.decode(validation).encode())
    print(
        f"Model of iteration {best} and training_loss.png saved in {directory}\n"
        f"Validation loss {loss:.4f} nats per token, perplexity {math.exp(loss):.3f}, "
        f"{bits:.3f} bits per byte (whole validation part, window {T}, stride {T})"
    )


def keep_best(model, tokenizer, validation, config, directory):
    """An `evaluate` for `train` that reports, and saves when it is better than before."""
    from tqdm import tqdm

    rng = np.random.default_rng(config.seed)  # of its own: training does not depend on it
    T, evaluations = model.config.block_size, []
    batches = [
        random_batch(validation, T, config.batch_size, rng) for _ in range(config.eval_iters)
    ]

    @no_grad()
    def evaluate(iteration):
        model.eval()
        loss = float(np.mean([model.loss(*batch).item() for batch in batches]))
        if not math.isfinite(loss):  # before anything is saved
            raise ValueError(f"the validation loss became {loss}: try a smaller learning rate")
        if all(loss < before for _, before in evaluations):
            save(directory, model, tokenizer)
        evaluations.append((iteration, loss))
        sample = model.generate(validation[:1], 120, temperature=0.8, rng=rng)
        tqdm.write(
            f"\niteration {iteration}: validation loss {loss:.4f}; a sample:\n"
            f"{tokenizer.decode(sample[1:]).strip()}"
        )

    return evaluate, evaluations


def run_generate(args: argparse.Namespace) -> None:
    """Continue a prompt with a saved model."""
    _check_sampling(args.max_new_tokens, args.temperature, args.top_k, args.top_p)
    model, tokenizer = load(Path(args.dir))
    rng = np.random.default_rng(args.seed)
    if args.prompt is None:  # any token to begin with
        words = tokenizer.tokens[END + 1 :] if tokenizer.kind == "word" else tokenizer.tokens
        args.prompt = str(rng.choice(words))
    ids = tokenizer.encode(args.prompt)
    if not ids:
        raise ValueError("the prompt is empty: give --prompt at least one word or character")
    if tokenizer.kind == "word" and tokenizer.unknown(args.prompt):
        unknown = ", ".join(tokenizer.unknown(args.prompt))
        print(f"words the model has never seen, read as <UNK>: {unknown}", file=sys.stderr)
    generated = model.generate(
        ids, args.max_new_tokens, args.temperature, args.top_k, args.top_p,
        END if tokenizer.kind == "word" else None, rng,
    )  # fmt: skip
    print(tokenizer.decode(generated))


# ---------------------------------------------------------------- command line


def _from_flags(cls, args, **others):
    """A config dataclass filled from the flags that carry its fields' names."""
    given = {name: value for name, value in vars(args).items() if name in cls.__annotations__}
    return cls(**given, **others)


def make_directory(name: str) -> Path:
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the directory {name}: {error.strerror}") from error
    return Path(name)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help lists all options)\n")


def parser() -> argparse.ArgumentParser:
    main = _Parser(prog="tinygpt.py", description="With no command: the five-sentence example.")
    main.add_argument("--seed", type=int, default=0, help="for the example (default 0)")
    commands = main.add_subparsers(dest="command", metavar="{train,generate}")

    add = commands.add_parser("train", help="train on a text file").add_argument
    add("file", metavar="FILE", help="a UTF-8 text; its last tenth is for validation")
    add("--out-dir", required=True, metavar="DIR", help="where model and loss curve go")
    add("--tokenizer", choices=TOKENIZERS, default="char")
    for cls, names in (
        (GPTConfig, "n_layer n_head n_embd block_size dropout"),
        (TrainConfig, " ".join(TrainConfig.__annotations__)),
    ):
        for name in names.split():
            default = getattr(cls, name)
            add("--" + name.replace("_", "-"), type=type(default), default=default, metavar="N",
                help=f"(default {default})")  # fmt: skip

    add = commands.add_parser("generate", help="continue a prompt").add_argument
    add("dir", metavar="DIR", help="the --out-dir of a training")
    add("--prompt", metavar="TEXT", help="the text to continue (default: a token at random)")
    add("--max-new-tokens", type=int, default=300, metavar="N", help="(default 300)")
    add("--temperature", type=float, default=0.8, metavar="T", help="0: likeliest (default 0.8)")
    add("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens only")
    add("--top-p", type=float, metavar="P", help="draw from the likeliest tokens that sum to P")
    add("--seed", type=int, metavar="N", help="for the same text every time")
    return main


def main(arguments: list[str] | None = None) -> None:
    args = parser().parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):  # a terminal may lack letters that a text has
        sys.stdout.reconfigure(errors="replace")
    try:
        if args.command == "train":
            run_train(args)
        elif args.command == "generate":
            run_generate(args)
        else:
            run_example(args.seed)
    except (ValueError, OSError, MemoryError) as error:
        print(f"tinygpt.py: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ntinygpt.py: stopped; what was saved before stays", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
