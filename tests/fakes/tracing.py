"""Which processes are traced for the coverage report: those that a test asks for, not all that are started.

A traced process starts at half the speed, and Prefect's server is nobody's to cover.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_PREFIX = "COVERAGE_PROCESS_"
_kept: dict[str, str] = {}


def keep_from_processes(environment: MutableMapping[str, str]) -> None:
    """Take out of the environment what makes coverage trace a process."""
    for name in [name for name in environment if name.startswith(_PREFIX)]:
        _kept[name] = environment.pop(name)


def traced() -> dict[str, str]:
    """Give what a process that is to be traced needs in its environment; nothing if none is."""
    return dict(_kept)
