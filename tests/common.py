"""What several test files use: a text, a small model, the program as a user calls it."""

import json
from pathlib import Path

import numpy as np
import pytest

import tinygpt
from tinygpt import GPTConfig, TinyGPT

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "tests" / "programs"
RNG = np.random.default_rng
TEXT = "To be, or not to be, that is the question.\nWhether 'tis nobler in the mind\n" * 20


def small(**changes):
    """A model of two layers, eight channels and eleven tokens."""
    shape = dict(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8)
    return TinyGPT(GPTConfig(**{**shape, **changes}), RNG(0))


def main(*arguments):
    """The program with a command line, in this process."""
    tinygpt.main(list(map(str, arguments)))


def refused(capsys, *arguments):
    """The one line that main prints when it refuses, with exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(*arguments)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("tinygpt.py") and not any("Traceback" in line for line in lines)
    assert not any(line.startswith("tinygpt.py") for line in lines[:-1])
    return lines[-1]


def weights(run, name="model"):
    """The bytes of a file of weights."""
    return (run / f"{name}.safetensors").read_bytes()


def metrics(run):
    """The figures of each iteration of a run."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def iterate(training, next_batch):
    """One iteration, as the loop in tinygpt.py makes it; returns the loss."""
    rng = training.rng()
    loss = training.backward(*next_batch(rng), rng)
    training.check(loss, training.clip())
    training.step()
    return loss
