"""Hypothesis profiles: the default is deterministic and quick, `thorough` draws hundreds.

The fixture `registry` forgets the ops that a test has defined.
"""

import os
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

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
