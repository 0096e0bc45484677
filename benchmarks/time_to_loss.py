"""The time from the start of `train` to a validation loss, and in PyTorch by nanoGPT's recipe.

    python benchmarks/time_to_loss.py tinyshakespeare.txt [--loss 1.886] [--procs 2]

One after the other: `tinygpt.py train --arch gpt` with its start, samples and files; and a loop in
PyTorch, eager, with the same model and batches as nanoGPT trains it on a CPU (AdamW, 2000
iterations), whose time does not count its imports. Both evaluate on 20 batches, every 250
iterations. Needs torch beside what this project needs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from pytorch_gpt import GPT, adamw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from nn.run.tokens import split_tokens  # noqa: E402
from tinygpt import CharTokenizer, GPTConfig, TinyGPT, TrainConfig, random_batch  # noqa: E402

T, B, INTERVAL = 64, 12, 250  # context, batch, iterations from one evaluation to the next


def tinygpt(text: Path, flags: list[str], directory: Path) -> Iterator[tuple[int, float]]:
    """(iteration, validation loss) as `train` comes to them."""
    command = [sys.executable, ROOT / "tinygpt.py", "train", text, "--out-dir", directory]
    command += ["--arch", "gpt", *flags]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path, seen = directory / "metrics.jsonl", 0
    try:
        while run.poll() is None:
            time.sleep(0.05)
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            metrics = [json.loads(line) for line in lines if line.endswith(b"\n")]
            found = [m for m in metrics if "validation_loss" in m]
            yield from ((m["iteration"], m["validation_loss"]) for m in found[seen:])
            seen = len(found)
    finally:  # the goal is reached: the next one shall have the machine for itself
        run.terminate()
        run.wait()


def pytorch(text: Path, threads: int) -> Iterator[tuple[int, float]]:
    """The same of a training in PyTorch."""
    torch.set_num_threads(threads)
    tokenizer = CharTokenizer().fit(text.read_text("utf-8"))
    tokens = np.array(tokenizer.encode(text.read_text("utf-8")))
    config = TrainConfig(optimizer="adamw")
    tokens, validation = split_tokens(tokens)
    sizes = GPTConfig(tokenizer.vocab_size)
    model, weights = GPT(**vars(sizes)), TinyGPT(sizes, np.random.default_rng(1337)).state_dict()
    model.load(lambda name, shape: weights[name])
    optimizer = adamw(model, config.learning_rate, (0.9, config.beta2), config.weight_decay)

    def loss_of(tokens, rng):
        return model(*map(torch.tensor, random_batch(tokens, T, B, rng)))

    for i in range(config.max_iters + 1):
        if i and i % INTERVAL == 0:
            with torch.no_grad():
                rng = np.random.default_rng(0)
                yield i, float(np.mean([loss_of(validation, rng).item() for _ in range(20)]))
        for group in optimizer.param_groups:
            group["lr"] = config.rate(i)
        optimizer.zero_grad()
        loss_of(tokens, np.random.default_rng(i)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()


def race(name: str, losses: Iterator[tuple[int, float]], goal: float) -> None:
    """Follow a training until the goal, and say when it came there."""
    started, best, seconds = time.monotonic(), math.inf, 0.0
    with contextlib.closing(losses):
        for iteration, loss in losses:
            seconds, best = time.monotonic() - started, min(best, loss)
            if loss <= goal:
                after = f"{loss:.4f} after {iteration} iterations"
                print(f"{name:32} {seconds:6.1f} s  {after}", flush=True)
                return
    print(f"{name:32} not in {seconds:.1f} s: {best:.4f} at best", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="tiny Shakespeare")
    parser.add_argument("--loss", type=float, default=1.886, help="(default nanoGPT's, 1.886)")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--procs", type=int, default=2, help="of TinyGPT's second run; 1: none")
    options = parser.parse_args()
    for procs in sorted({1, options.procs}):
        with tempfile.TemporaryDirectory() as directory:
            flags = ["--procs", str(procs)] if procs > 1 else []
            race(
                f"tinygpt.py train {' '.join(flags)}",
                tinygpt(options.text, flags, Path(directory)), options.loss,
            )  # fmt: skip
    race("PyTorch, nanoGPT's recipe", pytorch(options.text, options.threads), options.loss)


if __name__ == "__main__":
    main()
