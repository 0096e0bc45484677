"""Hypothesis profiles: the default is deterministic and quick, `thorough` draws hundreds."""

import os

from hypothesis import HealthCheck, settings

quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
settings.register_profile(
    "default", max_examples=50, derandomize=True, deadline=None, database=None,
    suppress_health_check=quiet,
)  # fmt: skip
settings.register_profile("thorough", settings.get_profile("default"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
