"""What is under way, how a request ended, and who is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from express import Run
    from tasks.exchange import Exchange


class Begun(NamedTuple):
    """A request that has not ended: its flow's name, and its express run's id and name."""

    exchange: Exchange
    flow: str
    run_id: UUID
    run_name: str


class Ending(NamedTuple):  # a dataclass costs four times as much to make, which every request pays
    """How one request ended.

    `flow` is the pipeline's name. `status` is the HTTP status that the client was told, or would have been if
    its stream had not begun: 499 if it left, 500 if the gateway crashed on it. `ms` counts from the
    request's arrival to its last byte. `summary` is what its flow run shows: tokens, cost, `ttft_ms`, bytes,
    attempts, cache; a name may be missing or None. `error` is what was raised, None if all went well.
    `crashed` says that the error was of our own making. `run_id` and `run_name` name its express run, which
    is `run`, with its steps; under Prefect's own engine it has none.
    """

    exchange: Exchange
    flow: str
    status: int
    ms: float
    summary: Mapping[str, Any]
    error: BaseException | None
    run_id: UUID
    run_name: str
    crashed: bool
    run: Run


class Observer(Protocol):
    """Is told of each request once, after its last byte."""

    def ended(self, ending: Ending) -> None:
        """Take note. Must neither raise nor block: it runs on the event loop, after every request."""
