"""Hypothesis profiles: the default is deterministic and quick, `thorough` draws hundreds.

The fixture `registry` forgets the ops that a test has defined; others spare the tests of runs what
takes longer than the training of a tiny model.
"""

import os
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

import nn.run.directory
import tinygpt
from autograd import dispatch
from autograd import tensor as engine

collect_ignore = ["programs", "tools"]  # run by tests, and by hand
quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
settings.register_profile(
    "default", max_examples=50, derandomize=True, deadline=None, database=None,
    suppress_health_check=quiet,
)  # fmt: skip
settings.register_profile("thorough", settings.get_profile("default"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Matplotlib's list of fonts in HOME may name those of an environment that is gone.
os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="matplotlib-")

# A job in the background begins with Ctrl-C ignored, and so would the processes that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def registry():
    tables = engine.registry, dispatch.implementations
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


@pytest.fixture
def no_wait_for_the_disk(monkeypatch):
    """Forcing files to the disk takes longer than all else in the tests of files."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def short_reports(monkeypatch):
    """Runs draw no picture of their own and show three tokens: this is most of a tiny run's time.

    The command `plot` draws as always, and so do the runs of fixtures with a wider scope.
    """
    generate, plot_losses = nn.run.directory.generate, nn.run.directory.plot_losses

    def three_tokens(model, ids, n, **options):
        return generate(model, ids, 3, **options)

    def draw(path, *arguments):
        if path.name != "training_loss.png":
            return plot_losses(path, *arguments)
        path.write_bytes(b"\x89PNG: no picture")
        return ""

    monkeypatch.setattr(nn.run.directory, "generate", three_tokens)
    monkeypatch.setattr(nn.run.directory, "plot_losses", draw)


@pytest.fixture
def short_trainings(monkeypatch):
    """Trainings have three iterations; that of the example would have 300."""
    train = tinygpt.train

    def three_iterations(training, *arguments, **options):
        training.config.max_iters = 3
        return train(training, *arguments, **options)

    monkeypatch.setattr(tinygpt, "train", three_iterations)
