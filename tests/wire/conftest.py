"""Hypothesis on a shared machine: no deadlines, only results; in CI the same examples each time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "shared",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),  # the coverage gate must not hang on what chance draws
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("shared")
