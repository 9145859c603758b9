"""Have the answers to a list of requests stored before anybody asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from express import current_run, pipeline, step
from tasks.exchange import Whole
from wire.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from wire.messages import Json


class Warming:
    """A list of requests under way; `tell` hears the counts with every one that is done, and its error."""

    def __init__(
        self,
        requests: Sequence[Json],
        warm: Callable[[Json], Awaitable[str]],
        tell: Callable[[Json], None],
        at_once: int,
    ) -> None:
        self.requests = requests
        self.warm = warm
        self.counts = {"total": len(requests), "done": 0, "present": 0, "stored": 0, "unfit": 0, "failed": 0}
        self.errors: list[Json] = []
        self.places = asyncio.Semaphore(at_once)
        self._tell = tell

    def __prefect_summary__(self) -> dict[str, int]:
        """Give what a flow run may show of it."""
        return {"requests": len(self.requests)}

    def done(self, place: int, outcome: str, error: GatewayError | None = None) -> None:
        """Note that one is done: `present` before, now `stored`, `unfit` for it, or `failed`."""
        self.counts["done"] += 1
        self.counts[outcome] += 1
        told: Json = dict(self.counts)
        if error is not None:
            told["error"] = {"request": place, "type": error.type, "message": error.told}
            self.errors.append(told["error"])
        if (run := current_run()) is not None:
            run.log(f"{self.counts['done']} of {self.counts['total']}: request {place} {outcome}")
        self._tell(told)


@pipeline(name="warm_cache")
async def warm_cache(exchange: Any, warming: Warming) -> Whole:  # noqa: ARG001 - every run is of one exchange
    """Ask what is not stored yet, some at once. What is stored costs nothing: the list may be sent again."""
    await asyncio.gather(*(warm_request(warming, place) for place in range(len(warming.requests))))
    result = {**warming.counts, "errors": warming.errors}
    return Whole(orjson.dumps(result), summary=dict(warming.counts))


@step
async def warm_request(warming: Warming, place: int) -> None:
    """Have one request's answer stored; a failure is noted, and the others go on."""
    async with warming.places:
        try:
            outcome = await warming.warm(warming.requests[place])
        except GatewayError as error:
            warming.done(place, "failed", error)
        else:
            warming.done(place, outcome)
