"""The race of benchmarks/speedrun.py: its rules, and that each of its recipes trains."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import nn.optim
import tinygpt
from nn.functional import IGNORE_INDEX

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    sys.modules[name] = found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


for first in ("machine", "speedrun_recipes"):
    module(first)  # speedrun.py imports them
speedrun = module("speedrun")
EVERY = speedrun.EVERY


@pytest.fixture(autouse=True)
def other_tests_keep_their_polynomials(monkeypatch):
    monkeypatch.setattr(nn.optim, "_POLYNOMIALS", nn.optim._POLYNOMIALS)


@pytest.mark.parametrize("size", [65, 66, 100, 129])
def test_all_of_the_last_tenth_is_scored_once(size):
    tokens = np.arange(size)
    ids, targets = speedrun.windows(tokens, 64)
    scored = targets != IGNORE_INDEX
    np.testing.assert_array_equal(targets[scored], tokens[1:])
    np.testing.assert_array_equal(ids[scored], tokens[:-1])


def test_the_loss_is_that_of_evaluate():
    training = EVERY["sprint"].training(11, 1)
    tokens = np.random.default_rng(0).integers(0, 11, 300)
    loss = training.loss([speedrun.windows(tokens, 64)])
    assert loss == pytest.approx(tinygpt.mean_loss(training.model, tokens, window=64), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in EVERY if "large" not in name])
def test_each_recipe_trains(name):
    recipe, tokens = EVERY[name], np.random.default_rng(0).integers(0, 11, 2000)
    training = recipe.training(65, 1)  # tiny Shakespeare has so many characters
    size = sum(p.size for p in training.model.parameters())
    assert size <= speedrun.MOST
    rng = training.rng()
    ids, targets = recipe.batches_of(tokens, 64, training.config)(0, rng)
    np.testing.assert_array_equal(ids[:, 1:], targets[:, :-1])
    before = [p.data.copy() for p in training.vectors]
    training.check(training.backward(ids[:2], targets[:2], rng), training.clip())
    training.step()
    recipe.after(training)
    moved = [p.data - b for p, b in zip(training.vectors, before, strict=True)]
    assert all(np.isfinite(m).all() for m in moved) and any(m.any() for m in moved)
    assert recipe.is_due(training.config.max_iters, training.config)


def test_windows_without_repeats_come_once_each():
    recipe, tokens = EVERY["no repeats"], np.arange(64 * 100 + 1)
    batch = recipe.batches_of(tokens, 64, tinygpt.TrainConfig(batch_size=24))
    starts = np.concatenate([batch(i, None)[0] for i in range(5)])[:99, 0]
    assert len(set(starts // 64)) == 99 and len(set(starts % 64)) == 1


def test_a_difference_within_two_standard_errors_is_none():
    def runs(*losses):
        return [
            dict(loss=x, parameters=5, iteration=9, milliseconds=1.0, reached=float("nan"),
                 seconds=2.0)
            for x in losses
        ]  # fmt: skip

    first = runs(1.0, 1.1, 1.2)
    assert speedrun.summary("quarter", runs(1.1, 1.2, 1.3), first).endswith("+0.1000 ± 0.0000")
    assert speedrun.summary("quarter", runs(1.1, 1.2, 1.31), first).endswith("+0.1033 ± 0.0033")
    assert speedrun.summary("quarter", runs(0.9, 1.2, 1.3), first).endswith("+0.0333 ± 0.0667 ~")
    assert speedrun.summary("quarter", runs(1.1), runs(1.0)).endswith("1.1000  +0.1000")
    assert speedrun.summary("quarter", first, first).endswith("1.1000 ± 0.1000")
    assert speedrun.summary("before", runs(1.1, 1.2, 1.3), first).endswith("1.2000 ± 0.1000")
