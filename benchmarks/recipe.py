"""The validation loss of nanoGPT's CPU model, trained by AdamW as there, and by Muon with AdamW.

    python benchmarks/recipe.py tinyshakespeare.txt

Same model, batches, number of iterations and seeds; the loss is that of the whole validation part,
in windows of 64 tokens side by side. A run takes two minutes or so on one core.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import tinygpt
from nn.run.tokens import split_tokens
from tinygpt import CharTokenizer, GPTConfig, TinyGPT, TrainConfig, Training

RECIPES = {"AdamW": dict(optimizer="adamw"), "Muon": dict(optimizer="muon")}


def run(tokens, vocab_size, recipe, seed, max_iters):
    """The validation loss after a training."""
    tokens, validation = split_tokens(tokens)
    config = TrainConfig(seed=seed, max_iters=max_iters, **RECIPES[recipe])
    model = TinyGPT(GPTConfig(vocab_size), np.random.default_rng(seed))
    T = model.config.block_size
    tinygpt.train(
        Training(model, config),
        lambda rng: tinygpt.random_batch(tokens, T, config.batch_size, rng),
    )
    return tinygpt.mean_loss(model, validation)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("text", help="tiny Shakespeare")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=[*RECIPES])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-iters", type=int, default=2000)
    options = parser.parse_args()
    text = Path(options.text).read_text("utf-8")
    tokenizer = CharTokenizer().fit(text)
    tokens = np.array(tokenizer.encode(text))
    for recipe in options.recipes:
        losses, started = [], time.monotonic()
        for seed in range(1, options.seeds + 1):
            losses.append(run(tokens, tokenizer.vocab_size, recipe, seed, options.max_iters))
        spread = statistics.stdev(losses) if len(losses) > 1 else 0.0
        print(
            f"{recipe:6} {options.max_iters} iterations: validation loss "
            f"{statistics.mean(losses):.4f} +- {spread:.4f}  "
            f"({' '.join(f'{loss:.4f}' for loss in losses)})  "
            f"{(time.monotonic() - started) / len(losses):.0f} s a run",
            flush=True,
        )


if __name__ == "__main__":
    main()
