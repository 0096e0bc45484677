"""A race: the seconds until a small language model predicts tiny Shakespeare well.

    python benchmarks/speedrun.py tinyshakespeare.txt
    python benchmarks/speedrun.py tinyshakespeare.txt --loss 1.6 --recipes train long --seeds 3
    python benchmarks/speedrun.py tinyshakespeare.txt --alone              each change alone

Rules
- The text is tiny Shakespeare, its tokens are characters. The first nine tenths are for training.
- The loss is that of the whole last tenth, in windows of 64 tokens side by side.
- A model has at most nanoGPT's 804,096 parameters.
- The time begins with the start of a fresh process and ends when that process says that its loss is
  at or below the mark, with all that comes before: imports, tokens, evaluations. Two cores.
- A recipe says beforehand how long it trains and when it evaluates.
- Recipes take turns, seed by seed, on the same machine. Each is compared with the first one: the
  mean of the differences of the same seeds, and its standard error. A tilde marks a mean within two
  standard errors of 0: these seeds cannot tell it from 0.

`pytorch` is nanoGPT's own recipe in PyTorch, which must be installed for it. What was tried, and
what it gave, is in docs/speedrun.md. The recipes are in speedrun_recipes.py.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import machine
import numpy as np
from speedrun_recipes import ALONE, RECIPES, Recipe

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from nn.functional import IGNORE_INDEX  # noqa: E402
from nn.run.architectures import several  # noqa: E402
from nn.run.directory import follow  # noqa: E402
from nn.run.team import Team, launch, world  # noqa: E402
from nn.run.tokens import random_batch, split_tokens  # noqa: E402
from nn.threads import BLAS_VARIABLES  # noqa: E402
from tinygpt import ARCHITECTURES, CharTokenizer  # noqa: E402

MARK = 1.886  # of nanoGPT's example for a CPU, on random batches of the last tenth
MOST = 804_096  # parameters

EVERY = {**RECIPES, **ALONE}

# ---------------------------------------------------------------- one run, in its own process


def run(text: str, recipe: Recipe, seed: int, team: Team) -> None:
    """Train by a recipe and print a line of JSON for each evaluation, and one at the end."""
    text = Path(text).read_text("utf-8")
    tokenizer = CharTokenizer().fit(text)
    tokens, validation = split_tokens(np.array(tokenizer.encode(text), np.int32))
    if recipe.pytorch:
        train_pytorch(recipe, tokenizer.vocab_size, tokens, validation, seed)
        return
    training = recipe.training(tokenizer.vocab_size, seed)
    T = training.config.tokens(training.model.config)  # of a window
    parameters = sum(p.size for p in training.model.parameters())
    team.send((training.model.config, training.config))
    training.lead(team)
    started = time.monotonic()
    seconds = 0.0  # in evaluations
    batch = recipe.batches_of(tokens, T, training.config)
    for i in range(1, training.config.max_iters + 1):
        rng = training.rng()
        ids, targets = batch(i - 1, rng)
        loss = training.backward(ids, targets, rng)
        training.check(loss, training.clip())
        training.step()
        recipe.after(training)
        if recipe.is_due(i, training.config):
            before = time.monotonic()
            recipe.evaluated(training)
            loss = training.loss([windows(validation, T)])
            seconds += time.monotonic() - before
            step = (time.monotonic() - started - seconds) / i
            say(iteration=i, loss=loss, parameters=parameters, milliseconds=1000 * step)


def windows(tokens: np.ndarray, T: int) -> tuple[np.ndarray, np.ndarray]:
    """All of the text as one batch: (ids, targets), (N, T) each; the last window is filled up."""
    at = np.arange(0, len(tokens) - 1, T)[:, None] + np.arange(T + 1)
    inside = at < len(tokens)
    rows = tokens[np.minimum(at, len(tokens) - 1)]
    return rows[:, :-1], np.where(inside, rows, IGNORE_INDEX)[:, 1:]


def train_pytorch(recipe, vocab_size, tokens, validation, seed):
    """The same with nanoGPT's model and AdamW, in PyTorch as most people write it."""
    import torch
    from pytorch_gpt import GPT, adamw

    torch.set_num_threads(int(os.environ["OPENBLAS_NUM_THREADS"]))
    training = recipe.training(vocab_size, seed)  # for its weights and its learning rates
    weights, c = training.model.state_dict(), training.config
    T = c.tokens(training.model.config)
    model = GPT(**vars(training.model.config))
    model.load(lambda name, shape: weights[name])
    optimizer = adamw(model, c.learning_rate, (0.9, c.beta2), c.weight_decay)
    started, seconds = time.monotonic(), 0.0
    for i in range(c.max_iters):
        for group in optimizer.param_groups:
            group["lr"] = c.rate(i)
        batch = random_batch(tokens, T, c.batch_size, np.random.default_rng((seed, i)))
        optimizer.zero_grad()
        model(*(torch.tensor(x, dtype=torch.long) for x in batch)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), c.grad_clip)
        optimizer.step()
        if recipe.is_due(i + 1, c):
            before = time.monotonic()
            step = (before - started - seconds) / (i + 1)
            ids, targets = (torch.tensor(x, dtype=torch.long) for x in windows(validation, T))
            with torch.no_grad():
                losses = [
                    model(x, y).item() * int((y != IGNORE_INDEX).sum())
                    for x, y in zip(ids.split(64), targets.split(64), strict=True)
                ]
            say(iteration=i + 1, loss=sum(losses) / (len(validation) - 1), milliseconds=1000 * step,
                parameters=sum(p.numel() for p in model.parameters()))  # fmt: skip
            seconds += time.monotonic() - before


def say(**figures):
    print(json.dumps(figures), flush=True)


# ---------------------------------------------------------------- the race


def race(text: Path, name: str, seed: int, mark: float, at_once: int) -> dict:
    """Start a process for a recipe and follow it to its end: what it said, and when."""
    command = [sys.executable, __file__, str(text), "--run", name, "--seed", str(seed)]
    recipe, last, reached = EVERY[name], {}, math.nan
    threads = "1" if at_once > 1 or recipe.procs > 1 else "2"
    environment = {**os.environ, **dict.fromkeys(BLAS_VARIABLES, threads)}
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    for line in process.stdout:
        last = json.loads(line)
        if last["loss"] <= mark and math.isnan(reached):
            reached = time.monotonic() - started
            if recipe.stops:
                process.kill()
    stopped = recipe.stops and not math.isnan(reached)
    if (process.wait() and not stopped) or not last:
        raise SystemExit(f"{name}, seed {seed}, ended with exit code {process.returncode}")
    result = {**last, "reached": reached, "seconds": time.monotonic() - started}
    if last["parameters"] > MOST:
        result["note"] = "more parameters than the rules allow"
    print(f"  {name}, seed {seed}: {result}", file=sys.stderr, flush=True)
    return result


def summary(name: str, runs: list[dict], first: list[dict], times: bool = True) -> str:
    """A row of the table, with or without times."""

    def of(key, form):
        values = [r[key] for r in runs if not math.isnan(r[key])]
        if not values:
            return "-".rjust(14)
        spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
        missed = f" ({len(runs) - len(values)} not)" if len(values) < len(runs) else ""
        return f"{statistics.mean(values):{form}}{spread}{missed}".rjust(14)

    gain = "" if runs is first or EVERY[name].stops else difference(runs, first)
    iterations = statistics.median(r["iteration"] for r in runs)
    step = statistics.median(r["milliseconds"] for r in runs)
    timed = f"{step:>7.1f}{of('reached', '.1f'):>21}{of('seconds', '.1f')}" if times else ""
    row = f"{name:24}{runs[0]['parameters']:>10,}{iterations:>6.0f}{timed}"
    return f"{row}{of('loss', '.4f'):>17}  {gain}".rstrip()


def difference(runs: list[dict], first: list[dict]) -> str:
    """By how much the losses differ, seed by seed."""
    differences = [r["loss"] - f["loss"] for r, f in zip(runs, first, strict=True)]
    mean = statistics.mean(differences)
    if len(runs) == 1:
        return f"{mean:+.4f}"
    error = statistics.stdev(differences) / len(runs) ** 0.5
    return f"{mean:+.4f} ± {error:.4f}{' ~' if abs(mean) <= 2 * error else ''}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="tiny Shakespeare")
    parser.add_argument(
        "--recipes", nargs="+", default=["train", "before", "sprint", "pytorch"], metavar="NAME",
        choices=EVERY, help="those of speedrun_recipes.py (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--alone", action="store_true", help="every change of `sprint` alone")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--at-once", type=int, default=1, metavar="N",
        help="N trainings at the same time, one thread each: for losses, without times",
    )  # fmt: skip
    parser.add_argument("--loss", type=float, default=MARK, help="the mark (default nanoGPT's)")
    parser.add_argument("--run", help=argparse.SUPPRESS)  # in the process of one run
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.text.is_file():
        parser.error(f"there is no text {options.text}: give the path of tiny Shakespeare")
    if options.run:
        join(options)
    else:
        names = ["6 and batches of 24", *ALONE] if options.alone else options.recipes
        compare(names, options)


def join(options: argparse.Namespace) -> None:
    """One run, in this process and, if the recipe has several, in those it starts."""
    recipe, team = EVERY[options.run], world()
    if team.size == 1:
        launch(recipe.procs, sys.argv)
    with team:
        if team.rank:
            follow(team, several(ARCHITECTURES, default="llama"))
        else:
            run(options.text, recipe, options.seed, team)


def compare(names: list[str], options: argparse.Namespace) -> None:
    """All recipes in turn, and the table."""
    print(machine.describe(2))
    if options.at_once > 1:
        print(f"{options.at_once} at once, with one thread each")
    turns = [(name, seed) for seed in range(1, options.seeds + 1) for name in names]
    with ThreadPoolExecutor(options.at_once) as pool:
        rest = (options.loss, options.at_once)
        runs = list(pool.map(lambda turn: race(options.text, *turn, *rest), turns))
    found: dict[str, list[dict]] = {name: [] for name in names}
    for (name, _), one in zip(turns, runs, strict=True):
        found[name].append(one)
    mark, times = f"s to {options.loss:g}", options.at_once == 1
    timed = f"{'ms':>7}{mark:>21}{'s to the end':>14}" if times else ""
    print(f"{'':24}{'size':>10}{'iter.':>6}{timed}{'loss':>17}  against {names[0]}")
    for name in names:
        print(summary(name, found[name], found[names[0]], times))


if __name__ == "__main__":
    main()
