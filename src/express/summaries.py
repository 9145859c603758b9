"""What a run may show of a value: a summary that its type offers, or the type's name.

Nothing here ever renders a value by itself: prompts, keys and answers travel through the steps.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

ERROR_LENGTH = 500


@runtime_checkable
class Summarised(Protocol):
    """A value that says itself what a run may show of it: sizes, counts, names."""

    def __prefect_summary__(self) -> dict[str, Any]: ...


def summary_of(value: object) -> Any:
    """Give the JSON a run shows for `value`."""
    summarise = getattr(type(value), "__prefect_summary__", None)
    return type(value).__name__ if summarise is None else summarise(value)


def error_text(error: BaseException) -> str:
    """Name an error in one bounded line.

    Only an error that carries a `message` meant for people is quoted; the text of any other may
    hold the value it choked on (pydantic's does), so its type and the place it was raised must do.
    """
    name = type(error).__name__
    message = getattr(error, "message", None)
    if isinstance(message, str) and message:
        return f"{name}: {message}"[:ERROR_LENGTH]
    trace = error.__traceback__
    if trace is None:
        return name
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f"{name} in {code.co_qualname}, {code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
