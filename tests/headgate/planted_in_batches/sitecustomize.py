"""Mistakes planted in the steps of batches: Python runs this where this folder is in PYTHONPATH.

Each of `STEPS` fails when it is first called, so that the batch is tried again and ends well.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

STEPS = ("open_chunks", "close_batch")


class Planted(Exception):
    """A failure that nobody expects; its text quotes what a careless library's would."""


def plant(module: Any, name: str) -> None:
    """Have the step fail once, in its own code."""
    step = getattr(module, name)
    usual, failed = step.fn, []

    async def once(*args: Any, **kwargs: Any) -> Any:
        if not failed:
            failed.append(name)
            raise Planted("A secret prompt")
        return await usual(*args, **kwargs)

    code = usual.__code__
    once.__code__ = once.__code__.replace(
        co_filename=code.co_filename, co_firstlineno=code.co_firstlineno, co_name=name, co_qualname=name
    )
    step.fn = once


class Finder:
    """Plants once `tasks.execute_batch` is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "tasks.execute_batch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        usual = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            usual(module)
            for step in STEPS:
                plant(module, step)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
