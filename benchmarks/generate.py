"""Tokens per second of generation, in TinyGPT and in Hugging Face's transformers, side by side.

    python benchmarks/generate.py [--sizes small gpt2] [--threads N]   (needs torch, transformers)

Both run the same random weights from one folder, greedily, with a key-value cache, a token at a
time. They take turns; the medians and their ratio are printed, and how long opening takes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--sizes", nargs="+", choices=("small", "gpt2"), default=["small", "gpt2"])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--turns", type=int, default=5)
OPTIONS = parser.parse_args()
os.environ["OPENBLAS_NUM_THREADS"] = str(OPTIONS.threads)  # before NumPy is loaded
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from tinygpt import GPTConfig, TinyGPT  # noqa: E402

SIZES = {
    "small": (dict(vocab_size=65, block_size=256, n_layer=4, n_head=4, n_embd=128), 200),
    "gpt2": (dict(vocab_size=50257, block_size=1024, n_layer=12, n_head=12, n_embd=768), 40),
}


def timed(function):
    started = time.perf_counter()
    result = function()
    return result, time.perf_counter() - started


def compare(size, folder):
    shape, n = SIZES[size]
    TinyGPT(GPTConfig(bias=True, **shape), np.random.default_rng(0)).save_pretrained(folder)
    ours, opened = timed(lambda: TinyGPT.from_pretrained(folder))
    theirs, opened_there = timed(lambda: transformers.GPT2LMHeadModel.from_pretrained(folder))
    prompt = np.arange(8) % shape["vocab_size"]
    theirs.eval()
    ids = torch.tensor(prompt[None])
    greedy = dict(
        max_new_tokens=n, do_sample=False, eos_token_id=None, pad_token_id=0,
        attention_mask=torch.ones_like(ids),
    )  # fmt: skip
    sides = {
        "TinyGPT": lambda: ours.generate(prompt, n, temperature=0),
        "transformers": lambda: theirs.generate(ids, **greedy)[0].numpy(),
    }
    times = {name: [] for name in sides}
    for turn in range(OPTIONS.turns + 1):
        for name, side in sides.items():
            _, seconds = timed(side)
            if turn:  # the first warms up
                times[name].append(seconds)
    speeds = {name: n / median(seconds) for name, seconds in times.items()}
    same = np.array_equal(*(side() for side in sides.values()))
    print(f"{size}: {sum(p.size for p in ours.parameters()):,} parameters, {n} tokens a turn")
    for name, seconds in (("TinyGPT", opened), ("transformers", opened_there)):
        print(f"  {name:13} {speeds[name]:8.1f} tokens/s   opened in {seconds:.2f} s")
    ratio = speeds["TinyGPT"] / speeds["transformers"]
    print(f"  ratio {ratio:.2f}   the same tokens: {same}   (threads: {OPTIONS.threads})")


def main():
    torch.set_num_threads(OPTIONS.threads)
    transformers.logging.set_verbosity_error()
    print(f"NumPy {np.__version__}, torch {torch.__version__}, {transformers.__version__}")
    for size in OPTIONS.sizes:
        with tempfile.TemporaryDirectory() as folder:
            compare(size, Path(folder))


if __name__ == "__main__":
    main()
