"""Marks that tests under Prefect's own engine share."""

from __future__ import annotations

import pytest

SOCKETS_LEFT = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning"
)
"""Prefect's engine leaves its clients' sockets to the collector, which warns of each."""
