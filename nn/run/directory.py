"""A run: a training and its directory, from which it can go on after a stop at any moment.

`open_run` starts a run or goes on with one; `Run` saves it, evaluates it and says how it went.
Next to read: training.py.
"""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import shutil
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..files import load_arrays, locked, read_json, save_arrays, write_json
from ..sampling import generate
from .command import COMMAND
from .contract import Architecture
from .evaluation import describe_loss, guessing, mean_loss
from .monitor import Metrics, Progress, byte_progress, plain, plot_losses, read_metrics
from .plan import check_memory, check_procs, memory_needed
from .team import Team
from .tokenizers import BPETokenizer, Tokenizer, load_tokenizer
from .tokens import (
    TokenFile,
    open_tokens,
    random_batch,
    split_tokens,
    text_digest,
    text_files,
    tokenize,
)  # fmt: skip
from .training import TrainConfig, Training

__all__ = ["Run", "RunRequest", "compare_runs", "follow", "load_folder", "open_run"]

_STATE = "state.safetensors"
_CHANGEABLE = {"max_iters", "patience", "save_seconds", "activation_checkpointing"}  # by --resume


@dataclass
class RunRequest:
    """What a command line asks for; None and {} where it says nothing."""

    directory: Path
    files: list[str] = field(default_factory=list)
    resume: bool = False
    model: dict[str, Any] = field(default_factory=dict)  # fields of the model's config
    training: dict[str, Any] = field(default_factory=dict)  # fields of TrainConfig
    tokenizer: str | None = None  # its kind
    vocab_size: int | None = None
    tokens_dir: str | None = None
    init_from: str | None = None

    def fixed(self) -> dict[str, Any]:
        """{name: value} of what was asked for and cannot change during a run."""
        asked: dict[str, Any] = {"tokenizer": self.tokenizer, "vocab_size": self.vocab_size}
        for name, path in (("tokens_dir", self.tokens_dir), ("init_from", self.init_from)):
            asked[name] = path and str(Path(path).resolve())
        asked |= {**self.model, **self.training}
        return {k: v for k, v in asked.items() if v is not None and k not in _CHANGEABLE}


class Run:
    """A training and its directory.

    state.safetensors has all that is needed to go on. model.safetensors, config.json and the
    tokenizer are the best model by validation loss. settings.json says how the run was started.
    metrics.jsonl and training_loss.png show how it goes.
    """

    def __init__(
        self, directory: Path, training: Training, tokenizer: Tokenizer, tokens: TokenFile,
        settings: dict[str, Any], architecture: Architecture,
    ):  # fmt: skip
        self.directory, self.training, self.tokenizer = directory, training, tokenizer
        self.settings, self.architecture = settings, architecture
        self._saved_at, self._draw_after = time.monotonic(), 0.0
        self.tokens, self.validation = split_tokens(tokens)
        self.context = training.config.tokens(training.model.config)
        if len(self.validation) <= self.context:
            flag = "--context" if training.config.context else "--block-size"
            raise ValueError(
                f"the text is too short: its last tenth, for validation, has "
                f"{len(self.validation)} tokens and {flag} {self.context} needs "
                f"{self.context + 1}; take a longer text, a smaller size, or a tokenizer with "
                "smaller tokens"
            )
        self.metrics = Metrics(directory / "metrics.jsonl", training.iteration)

    def evaluation_is_due(self) -> bool:
        """Whether to evaluate now: every eval_interval iterations and at the end, once each."""
        i, c = self.training.iteration, self.training.config
        due = i % c.eval_interval == 0 or i >= c.max_iters
        return bool(i) and due and all(i != before for before, _ in self.training.evaluations)

    def next_batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random batch (ids, targets) of the text, (B, T) each."""
        return random_batch(self.tokens, self.context, self.training.config.batch_size, rng)

    def record(self, **figures: float) -> None:
        """Note the figures of this iteration; save if the last save was save_seconds ago."""
        self.metrics.add(self.training.iteration, **figures)
        if time.monotonic() - self._saved_at >= self.training.config.save_seconds:
            self.save()

    def save(self) -> None:
        """Write all that is needed to go on; ValueError if a next step could not be taken."""
        few = self.validation[: min(64, self.context) + 1][None]
        loss = self.training.backward(few[:, :-1], few[:, 1:])
        self.training.check(loss, self.training.clip())
        self.training.check_weights()
        self.metrics.sync()
        arrays, header = self.training.state()
        header["settings"] = json.dumps(self.settings)
        save_arrays(self.directory / _STATE, arrays, header)
        self._saved_at = time.monotonic()

    def evaluate(self, progress: Progress) -> float:
        """The validation loss, on the same batches each time; saves the model if it is the best."""
        training, c = self.training, self.training.config
        rng = np.random.default_rng((c.seed, 0, 1))  # other numbers than in any iteration
        batches = [
            random_batch(self.validation, self.context, c.batch_size, rng)
            for _ in range(c.eval_iters)
        ]
        loss = training.loss(batches)
        training.check(loss)
        best = self._keep_if_best(loss)
        training.evaluations.append([training.iteration, loss])
        self.metrics.add(training.iteration, validation_loss=loss)
        self.plot(now=False)
        model, start = training.model.eval(), self.validation[:1]
        ids: Any = generate(model, start, 120, temperature=0.8, rng=rng)
        worse = guessing(loss, self.tokenizer.vocab_size)
        progress.write(
            f"\niteration {training.iteration}: validation loss {loss:.4f} on {c.eval_iters} "
            f"random batches{', the best so far' if best else ''}{worse}:\n"
            f"{self.tokenizer.decode(ids[1:].tolist()).strip()}"
        )
        return loss

    def _keep_if_best(self, loss):
        """Save the model if it has the lowest loss so far, or if the best one was removed."""
        training = self.training
        best = training.best is None or loss < training.best[1]
        if best or not (self.directory / "model.safetensors").exists():
            notes = {"run": _identity(self.settings), "iteration": training.iteration, "loss": loss}
            self.architecture.save(self.directory, training.model, self.tokenizer, notes)
            return True
        return False

    def plot(self, now: bool = True) -> None:
        """Draw the losses; unless `now`, spend at most a twentieth of the time on it."""
        started = time.monotonic()
        if started < self._draw_after and not now:
            return
        metrics = read_metrics(self.directory / "metrics.jsonl")
        plot_losses(self.directory / "training_loss.png", {str(self.directory): metrics})
        self._draw_after = time.monotonic() + 20 * (time.monotonic() - started)

    def plan(self, procs: int) -> str:
        """What the run will do, in words: tokens, parameters, memory, iterations."""
        training, config = self.training, self.training.model.config
        needed = memory_needed(self.architecture, config, training.config, procs) / 1e6
        each = f" in each of {procs} processes" if procs > 1 else ""
        parameters = sum(p.size for p in training.model.parameters())
        return (
            f"{len(self.tokens):,} tokens for training, {len(self.validation):,} for validation, "
            f"vocabulary {self.tokenizer.vocab_size:,}\n"
            f"Model: {parameters:,} parameters; about {needed:,.0f} MB of memory{each} "
            f"for {training.config.max_iters - training.iteration:,} iterations"
        )

    def report(self) -> str:
        """The result, in words. Raises KeyboardInterrupt saying how to go on if it was stopped."""
        training, c = self.training, self.training.config
        if not training.finished or not training.best:
            raise KeyboardInterrupt(
                f"stopped after iteration {training.iteration} of {c.max_iters}, all is saved; go "
                f"on with: {COMMAND} train --out-dir {shlex.quote(str(self.directory))} "
                f"--resume{' '.join(['', *_procs_flag(training.team)])}"
            )
        self.plot()
        self._check_convergence()
        best, tokenizer = load_folder(self.directory, self.architecture)
        tokens = self.validation[:500_000]  # a minute or two; more would not change the figure
        loss = mean_loss(best, tokens)
        size = len(tokenizer.decode(tokens[1:].tolist()).encode())
        early = training.iteration < c.max_iters
        reason = f" ({c.patience} evaluations no better)" if early else ""
        figures = describe_loss(loss, len(tokens) - 1, size, self.context, self.context)
        part = "the whole" if len(tokens) == len(self.validation) else "the beginning of the"
        return (
            f"Finished after {training.iteration} iterations{reason}; the best model, of iteration "
            f"{training.best[0]}, and training_loss.png are in {self.directory}\n"
            f"Validation loss {figures}{guessing(loss, tokenizer.vocab_size)}\n"
            f"(on {part} validation text; the evaluations before took {c.eval_iters} random "
            "batches of it, so their losses differ a little)"
        )

    def _check_convergence(self):
        """Raise ValueError if the loss of the last tenth of the iterations is above chance."""
        size = self.tokenizer.vocab_size
        losses = [m["loss"] for m in read_metrics(self.directory / "metrics.jsonl") if "loss" in m]
        end = float(np.mean(losses[-max(1, len(losses) // 10) :] or [0.0]))
        if end > math.log(size) + 1:  # a new model may lie a little above
            at, best = self.training.best or (0, math.inf)
            raise ValueError(
                f"training diverged: its loss was {end:,.3f} at the end{guessing(end, size)}. "
                f"{self.directory} keeps the model of iteration {at}, with a validation loss of "
                f"{best:,.3f}{guessing(best, size)}. {self.training.remedy()}"
            )


def load_folder(directory: Path | str, architecture: Architecture) -> tuple[Any, Tokenizer]:
    """The model and tokenizer of a run, a folder, or a .gguf file; ValueError if there is none."""
    directory = Path(directory)
    if architecture.load_file and directory.suffix == ".gguf" and directory.is_file():
        model, library = architecture.load_file(directory)
        return model, _bpe_of(BPETokenizer(library, None), asdict(model.config))
    stopped = _has(directory, _STATE) and not _has(directory, "model.safetensors")
    if stopped or not _has(directory, "config.json"):
        raise ValueError(f"no model in {directory}: {_what_is_there(directory, 'config.json')}")
    model = architecture.open(directory)
    tokenizer = _tokenizer_of(directory, asdict(model.config))
    if tokenizer.kind != "bpe" and tokenizer.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"the tokenizer in {directory} has {tokenizer.vocab_size} tokens, the model "
            f"{model.config.vocab_size}: one of them belongs to another model"
        )
    return model, tokenizer


def _tokenizer_of(directory, config):
    """The tokenizer of a folder, which is told what the fields of the model's config say of it.

    A model may have more rows than a bpe tokenizer has tokens, or fewer: transformers opens both.
    """
    tokenizer = load_tokenizer(directory)
    return _bpe_of(tokenizer, config) if isinstance(tokenizer, BPETokenizer) else tokenizer


def _bpe_of(tokenizer, config):
    tokenizer.rows = config["vocab_size"]
    tokenizer.end = (config.get("token_ids") or {}).get("eos_token_id", tokenizer.end)
    return tokenizer


def _has(directory, name):
    return (directory / name).exists()


def _what_is_there(directory, missing):
    """Why a directory does not have what was looked for, a file `missing`, and what to do."""
    train = f"{COMMAND} train --out-dir {shlex.quote(str(directory))}"
    if not directory.exists():
        return "there is no such folder; give the --out-dir of `tinygpt.py train`"
    if not directory.is_dir():
        return "it is a file; give the folder of a run or of a model"
    if _has(directory, _STATE):
        _, header, settings = _read_state(directory)
        if missing != "config.json":
            return f"{missing} was taken away from this run"
        if json.loads(header["done"])["evaluations"]:
            return f"it was taken away from this run; for a new one: {train} --resume --max-iters N"
        first = min(settings["training"][name] for name in ("eval_interval", "max_iters"))
        return (
            f"this run has not come to its first evaluation, after iteration {first}, which saves "
            f"one; if it was stopped, go on with: {train} --resume"
        )
    if _has(directory, "settings.json") or _has(directory, "tokens"):
        return f"a training began there and has saved nothing yet; if it was stopped: {train} FILE"
    other = ", or a GPT-2 folder" if missing == "config.json" else ""
    return f"it has no {missing}; give the --out-dir of `tinygpt.py train`{other}"


def compare_runs(directories: Sequence[str], path: Path) -> str:
    """Draw the losses of runs into one PNG; returns a summary. ValueError if a run has none.

    Runs with different tokens are drawn in bits per byte, as their losses per token say little.
    """
    for name in directories:
        if not (Path(name) / "metrics.jsonl").exists():
            reason = _what_is_there(Path(name), "metrics.jsonl")
            raise ValueError(f"no losses in {name}: {reason}")
    runs = {name: read_metrics(Path(name) / "metrics.jsonl") for name in directories}
    if empty := [name for name, metrics in runs.items() if not metrics]:
        raise ValueError(f"nothing to draw: no iteration of {', '.join(empty)} is done yet")
    unit, note = "nats per token", ""
    try:
        if sizes := _bytes_per_token(list(runs)):
            unit, factors = "bits per byte", (1 / math.log(2) / size for size in sizes)
            runs = {name: _times(metrics, next(factors)) for name, metrics in runs.items()}
            note = "\nTheir tokens differ, so the picture has bits per byte, and not nats per token"
    except ValueError as error:
        note = f"\nNats per token, which cannot be compared if the tokens differ: {error}"
    fonts = plot_losses(path, runs, unit)
    note += f"\n{fonts}" if fonts else ""
    return f"Losses of {', '.join(map(plain, runs))}: {path}{note}"


def _bytes_per_token(names):
    """How many bytes of text a token of each run has; nothing if their tokens are the same."""
    each = [read_json(Path(n) / "settings.json", "text tokens_dir") for n in names]
    if all(settings["text"] == each[0]["text"] for settings in each):
        return []
    opened = []
    for name, settings in zip(names, each, strict=True):
        where = _tokens_at(Path(name), settings["tokens_dir"], settings["text"])
        opened.append(open_tokens(where, settings["text"]))
    if len({tokenizer.to_json() for tokenizer, _ in opened}) == 1:
        return []
    parts = [(tokenizer, split_tokens(tokens)[1][:500_000]) for tokenizer, tokens in opened]
    return [len(tokenizer.decode(ids.tolist()).encode()) / len(ids) for tokenizer, ids in parts]


def _times(metrics, factor):
    """Metrics with their losses in another unit."""
    losses = ("loss", "validation_loss")
    return [{k: v * factor if k in losses else v for k, v in m.items()} for m in metrics]


# ---------------------------------------------------------------- opening a run


@contextlib.contextmanager
def open_run(request: RunRequest, architecture: Architecture, team: Team) -> Iterator[Run]:
    """A new run, or with `resume` the one in the directory, which is locked until the `with` ends.

    Raises ValueError if the request cannot be met. A run that fails before its first iteration
    leaves nothing.
    """
    directory, state = request.directory, request.directory / _STATE
    files = text_files(request.files) if request.files else []
    if request.resume and state.exists():
        with locked(directory):
            run = _resumed_run(request, architecture, files)
            _lead(run.training, team)
            yield run
        return
    if not files:
        raise ValueError(
            f"there is no run in {directory} to go on with: give the FILE to train on"
            if request.resume
            else "give a FILE to train on, or --resume to go on with the run in --out-dir"
        )
    if state.exists() or (directory / "model.safetensors").exists():
        raise ValueError(
            f"there is a run in {directory} already: go on with it by --resume, or choose another "
            "--out-dir"
        )
    base = _base_model(request, architecture) if request.init_from else (None, None)
    config = TrainConfig(**request.training)
    known = asdict(base[0].config) if base[0] else architecture.defaults
    architecture.config(**{**known, **request.model, "vocab_size": 1})  # raises if one is wrong
    check_procs(config, team)
    text = _text_of(request, files, base[1])
    new = [path for path in (directory, *directory.parents) if not path.exists()]
    with locked(directory), _nothing_left(directory, new):
        run = _new_run(request, architecture, team, files, text, config, *base)
        _lead(run.training, team)
        yield run


def _text_of(request, files, tokenizer):
    """What decides the tokens of a run: the text, and how it is cut, or the tokenizer of a base."""
    text = {
        "text": text_digest(files, byte_progress), "kind": request.tokenizer or "char",
        "vocab_size": request.vocab_size,
    }  # fmt: skip
    if text["kind"] == "word":
        text["lines"] = True  # not in runs from before line ends were tokens
    if tokenizer:
        text |= {"kind": tokenizer.kind, "tokenizer": zlib.crc32(tokenizer.to_json().encode())}
    return text


@contextlib.contextmanager
def _nothing_left(directory, folders):
    """Remove what a run has made, with the new `folders`, if it fails before its first iteration.

    A run that was stopped by Ctrl-C is kept if its state was saved: it can go on.
    """
    names = ("tokens", "settings.json", "metrics.jsonl", _STATE)
    new = [directory / name for name in names if not _has(directory, name)]
    try:
        yield
    except BaseException as error:
        metrics = directory / "metrics.jsonl"
        begun = metrics.exists() and metrics.stat().st_size > 0
        if begun or (_has(directory, _STATE) and isinstance(error, KeyboardInterrupt)):
            raise
        for path in new:
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        with contextlib.suppress(OSError):  # a folder may have got other files meanwhile
            (directory / ".lock").unlink()
            for folder in folders:
                folder.rmdir()
        raise


def _base_model(request, architecture):
    """The model and the tokenizer of --init-from, to be trained further."""
    model, tokenizer = load_folder(request.init_from, architecture)
    asked = {**request.model, "tokenizer": request.tokenizer, "vocab_size": request.vocab_size}
    its = {"tokenizer": tokenizer.kind, **asdict(model.config)}
    for name, value in asked.items():
        if value not in (None, its.get(name)) and not (name == "dropout" and name in its):
            raise ValueError(
                f"the model in {request.init_from} has {_shown(its, name)} and cannot be "
                f"trained further with {value}: leave the flag, or the --preset, out"
            )
    if not {"optimizer", "learning_rate"} & request.training.keys():  # small steps
        request.training |= {"optimizer": "adamw", "learning_rate": 1e-4}
    return model, tokenizer


def _new_run(request, architecture, team, files, text, config, base, tokenizer):
    """A new Run: the text tokenized, the model made."""
    directory = request.directory
    tokens_dir = request.tokens_dir and str(Path(request.tokens_dir).resolve())
    where = _tokens_at(directory, tokens_dir, text)
    tokenizer, tokens = tokenize(files, where, text, byte_progress, tokenizer)
    if base:
        model_config = base.config
        if hasattr(model_config, "dropout"):
            model_config = replace(model_config, dropout=request.model.get("dropout", 0.0))
    else:
        options = {**architecture.defaults, **request.model}
        model_config = architecture.config(**{**options, "vocab_size": tokenizer.vocab_size})
    check_memory(architecture, model_config, config, team)
    settings = {
        "command": shlex.join(["python", *sys.argv, *_procs_flag(team)]),
        "versions": {"python": sys.version.split()[0], "numpy": np.__version__},
        "files": [str(path.resolve()) for path in files],
        "text": text,
        "tokens_dir": tokens_dir,  # None: in the run, even after that is moved
        "init_from": request.init_from and str(Path(request.init_from).resolve()),
        "model": asdict(model_config),
        "training": asdict(config),
    }
    write_json(directory / "settings.json", settings)
    model = architecture.model(model_config, None if base else np.random.default_rng(config.seed))
    if base:
        model.load_state_dict(base.state_dict())  # copied: what is trained is no mapped file
    training = Training(model, config)
    run = Run(directory, training, tokenizer, tokens, settings, architecture)
    run.save()
    return run


def _resumed_run(request, architecture, files):
    """The Run in a directory, as it was when it was last saved."""
    directory = request.directory
    arrays, header, settings = _read_state(directory)
    _check_unchanged(request, settings, architecture)
    _warn_if_changed(directory / "settings.json", settings)
    changed = {k: v for k, v in request.training.items() if k in _CHANGEABLE}
    before = dict(settings["training"])
    settings["training"] |= changed
    config = _training_config(settings)
    if files and text_digest(files, byte_progress) != settings["text"]["text"]:
        raise ValueError(
            f"{' '.join(request.files)} is not the text of the run in {directory}, or was changed "
            "since: leave it out to go on with the text as it was, or start another run"
        )
    training = Training(architecture.model(architecture.config(**settings["model"]), None), config)
    training.restore(arrays, header)
    _check_best(directory, architecture, training, settings)
    tokenizer, tokens = _resumed_tokens(directory, settings)
    run = Run(directory, training, tokenizer, tokens, settings, architecture)
    write_json(directory / "settings.json", settings)
    if settings["training"] != before:
        run.save()
    return run


def _read_state(directory):
    """The arrays, the header and the settings of a run's state."""
    arrays, header = load_arrays(directory / _STATE, sealed=True)
    if "settings" not in header or "done" not in header:
        raise ValueError(f"{directory / _STATE} is not the state of a run")
    return arrays, header, json.loads(header["settings"])


def _check_unchanged(request, settings, architecture):
    """Raise ValueError if a flag beside --resume is not what the run was started with."""
    model = architecture.config(**settings["model"])  # with values for options that came later
    before = {**vars(_training_config(settings)), **vars(model)}
    before |= {"tokens_dir": settings["tokens_dir"], "tokenizer": settings["text"]["kind"]}
    before |= {"vocab_size": settings["text"]["vocab_size"], "init_from": settings["init_from"]}
    for name, value in request.fixed().items():
        if name not in before or value != before[name]:
            raise ValueError(
                f"the run has {_shown(before, name)} and cannot go on with {value}: leave the "
                "flag, or the --preset, out, or start another run"
            )


def _training_config(settings):
    """The TrainConfig of a run; one from before these two options existed has their old values."""
    older = {"muon_momentum": 0.95, "even_rows": False}
    return TrainConfig(**{**older, **settings["training"]})


def _shown(options, name):
    return f"{name} {options[name]}" if name in options else f"no {name}"


def _warn_if_changed(path, settings):
    """Print a warning if settings.json is not what the state says: it will be overwritten."""
    with contextlib.suppress(ValueError):
        if read_json(path) != settings:
            print(f"{path} is not what the run began with, and is written anew", file=sys.stderr)


def _check_best(directory, architecture, training, settings):
    """Raise ValueError now, not at the end, if the best model is damaged or of another run."""
    best = directory / "model.safetensors"
    if training.evaluations and best.exists():
        load_folder(directory, architecture)
        notes = json.loads(load_arrays(best)[1].get("notes", "null")) or {}
        if notes.get("run") != _identity(settings):
            raise ValueError(f"{best} belongs to another run than state.safetensors beside it")


def _resumed_tokens(directory, settings):
    """The tokenizer and tokens of a run; made again if they are lost and the text is as it was."""
    text = settings["text"]
    where = _tokens_at(directory, settings["tokens_dir"], text)
    try:
        return open_tokens(where, text)
    except ValueError as lost:
        try:
            files = text_files(settings["files"])
            if text_digest(files, byte_progress) != text["text"]:
                raise ValueError("the text was changed since the run began")
        except ValueError as gone:
            raise ValueError(f"{lost}; and it cannot be made again: {gone}") from gone
        config = settings["model"]
        tokenizer = _tokenizer_of(directory, config) if settings["init_from"] else None
        return tokenize(files, where, text, byte_progress, tokenizer)


def _tokens_at(directory, tokens_dir, text):
    """Where the tokens of a text are: in the run, or in a folder of a shared directory."""
    if tokens_dir is None:
        return directory / "tokens"
    key = zlib.crc32(json.dumps(text, sort_keys=True).encode())
    return Path(tokens_dir) / f"{text['kind']}-{key:08x}"


def _identity(settings):
    """A checksum of the settings that the weights depend on; model.safetensors notes it."""
    training = {k: v for k, v in settings["training"].items() if k not in _CHANGEABLE}
    decisive = [settings[name] for name in ("text", "model", "init_from")]
    return f"{zlib.crc32(json.dumps([*decisive, training], sort_keys=True).encode()):08x}"


# ---------------------------------------------------------------- several processes


def _lead(training, team):
    """On rank 0: let the other processes train this model, too."""
    check_procs(training.config, team)
    team.send((training.model.config, training.config))
    training.lead(team)


def follow(team: Team, architecture: Architecture) -> None:
    """On the other ranks: train the model that rank 0 trains, if it trains one."""
    if configs := team.receive():
        model, config = configs
        Training(architecture.model(model, None), config).follow(team)


def _procs_flag(team):
    """The flag --procs for a team of this size; nothing for one process."""
    return ["--procs", str(team.size)] if team.size > 1 else []
