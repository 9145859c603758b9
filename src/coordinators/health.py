"""How the parts of this server are, and whether this process may be sent requests."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from coordinators.error_log import moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

State: TypeAlias = Literal["ok", "degraded", "down", "off", "idle"]

PROBE_SECONDS = 2.0


class Readiness:
    """Whether this web process may be sent requests: not before it is assembled, nor once it drains."""

    def __init__(self) -> None:
        self.assembled = False
        self.draining = False
        self._ended = asyncio.Event()

    @property
    def missing(self) -> list[str]:
        """What is missing, in words; nothing if it is ready."""
        words = [] if self.assembled else ["no backend is assembled yet"]
        return [*words, "the server is draining: it is about to stop"] if self.draining else words

    def drain(self) -> None:
        """Be ready no more. May be called by a signal's handler."""
        self.draining = True

    def end(self) -> None:
        """Let go of all who follow what happens here; within the event loop."""
        self.draining = True
        self._ended.set()

    async def ended(self, within: float) -> bool:
        """Wait for the end for so many seconds; gives whether it has come."""
        try:
            async with asyncio.timeout(within):
                await self._ended.wait()
        except TimeoutError:
            return False
        return True


@dataclass(slots=True)
class Part:
    """How one part is. `idle`: nobody needed it yet; `off`: it is not wanted. `error` says what is wrong."""

    state: State
    latency_ms: float | None = None
    error: str | None = None
    error_at: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Health:
    """Asks every part how it is. `probes` do, by the part's name, and may raise; `more` gives many."""

    def __init__(
        self,
        probes: Mapping[str, Callable[[], Awaitable[Part]]],
        more: Callable[[], Awaitable[Mapping[str, Part]]],
    ) -> None:
        self._probes = probes
        self._more = more
        self._last: dict[str, tuple[str, str]] = {}

    async def parts(self) -> dict[str, dict[str, Any]]:
        """Give every part's state, latency in milliseconds (if it was asked), and last error, by name."""
        found = await asyncio.gather(*(self._ask(name, probe) for name, probe in self._probes.items()))
        parts = {**await self._more(), **dict(zip(self._probes, found, strict=True))}
        return {name: self._told(name, part) for name, part in parts.items()}

    async def _ask(self, name: str, probe: Callable[[], Awaitable[Part]]) -> Part:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                part = await probe()
        except TimeoutError:
            return Part("down", error=f"{name} did not answer within {PROBE_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a part is what we want to know
            return Part("down", error=type(error).__name__)
        if part.latency_ms is None and part.state in {"ok", "degraded"}:
            part.latency_ms = round((time.perf_counter() - started) * 1000, 1)
        return part

    def _told(self, name: str, part: Part) -> dict[str, Any]:
        if part.error is not None:
            self._last[name] = (part.error, part.error_at or moment())
        error, at = self._last.get(name, (None, None))
        return {
            "state": part.state,
            "latency_ms": part.latency_ms,
            "last_error": error,
            "last_error_at": at,
            **part.facts,
        }


def worst(parts: Mapping[str, Mapping[str, Any]]) -> Literal["ok", "degraded"]:
    """Say whether any part is not well."""
    return "degraded" if any(part["state"] in {"degraded", "down"} for part in parts.values()) else "ok"
