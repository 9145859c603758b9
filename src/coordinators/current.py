"""Which request is being answered here: for whatever writes a log line below it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from uuid import UUID

    from tasks.exchange import Exchange

Cell: TypeAlias = "list[tuple[Exchange, UUID, str]]"
"""Holds the request, its run's id and its run's name; emptied when the run has ended.

A context outlives its request: what is opened or begun in it (a connection, a task) keeps a copy.
"""

# One variable with a tuple: binding three of structlog's costs every request ten times as much.
_current: ContextVar[Cell | None] = ContextVar("headgate_request", default=None)


def enter(exchange: Exchange, run_id: UUID, run_name: str) -> Cell:
    """Say that from here on, in this task and those it starts, this request is being answered.

    Who ends the run empties what this gives.
    """
    cell = [(exchange, run_id, run_name)]
    _current.set(cell)
    return cell


def current_exchange() -> Exchange | None:
    """Give the request that is being answered here, if one is."""
    found = _current.get()
    return found[0][0] if found else None


def answered_before() -> bool:
    """Say whether a request was answered here and is no more: what is said here may quote it."""
    return _current.get() == []


def current_names() -> dict[str, Any]:
    """Give the ids of the request, its session and its flow run; empty where there is none."""
    found = _current.get()
    if not found:
        return {}
    exchange, run_id, run_name = found[0]
    names: dict[str, Any] = {"request_id": exchange.id, "run": run_name, "run_id": str(run_id)}
    if session := exchange.session:
        names["session"] = session[:80]
    return names
