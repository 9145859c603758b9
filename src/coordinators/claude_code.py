"""What of Claude Code works with a model here, found out by real requests, and kept for ten minutes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from contextlib import aclosing, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import orjson

from coordinators.claude_code_checks import CHECKS, Check, Missing
from coordinators.error_log import moment
from tasks.exchange import Exchange, Whole
from wire.errors import GatewayError, InvalidRequest, Overloaded, PermissionDenied
from wire.messages import new_id
from wire.sse import SseDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from coordinators.gateway import Gateway
    from coordinators.keys import AdminKeys
    from wire.messages import Event, Json

FRESH_SECONDS = 600.0
CHECK_SECONDS = 60.0
RUN_SECONDS = 150.0
_AT_ONCE = 3
_MOST_KEPT = 20
_LONGEST = 300
MODELS = ("big", "small")

Outcome: TypeAlias = Literal["works", "missing", "unknown"]

# A model that cannot do something is refused like this; other errors say nothing of what it can do.
_REFUSED = {400, 404, 405, 413, 422}

NOTE = (
    "Each check is one or two small real requests to the model, which its provider charges for: "
    "about ten requests and some thousand tokens a model. Results are kept for ten minutes."
)


class ClaudeCode:
    """Checks models, for managers, one run at a time in the whole instance. `file` is where it keeps them."""

    def __init__(self, gateway: Gateway, admins: AdminKeys, file: Path) -> None:
        self._gateway = gateway
        self._admins = admins
        self._file = file
        self._running = asyncio.Lock()

    async def check(
        self, headers: Mapping[str, str], peer: str | None, model: str | None, *, refresh: bool
    ) -> Json:
        """Give what works and what is missing, by model; raises GatewayErrors.

        `refresh` asks anew even if there is a result of the last ten minutes.
        """
        self._admins.check(headers, peer)
        if headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            raise PermissionDenied("this costs money: no other site's page may set it off")
        models = MODELS if model is None else (model,)
        for name in models:
            self._gateway.backends.target(name)  # NotFound before anything is paid for
        async with self._running:
            with self._held():
                known = {} if refresh else self._known()
                found = {name: known.get(name) or await self._checked(name) for name in models}
                self._keep(found)
        told = [{**found[name], "kept_from_before": name in known} for name in models]
        return {"note": NOTE, "models": told}

    async def _checked(self, model: str) -> Json:
        started, target = time.time(), self._gateway.backends.target(model)
        asks, places = _Asking(self._gateway, model), asyncio.Semaphore(_AT_ONCE)
        limit = asyncio.get_running_loop().time() + RUN_SECONDS

        async def run(check: Check) -> Json:
            async with places:
                return await _tried(check, asks, limit)

        checks = await asyncio.gather(*map(run, CHECKS))
        return {
            "model": model,
            "backend": target.backend,
            "upstream_model": target.model,
            **summed(checks),
            "checked_at": moment(),
            "seconds": round(time.time() - started, 1),
            "checks": checks,
        }

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the file against the other web processes; raises Overloaded if one of them is at it."""
        held = os.open(f"{self._file}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Overloaded("a check is running; ask again in a moment", retry_after=5) from None
        else:
            yield
        finally:
            os.close(held)

    def _known(self) -> dict[str, Json]:
        try:
            kept = orjson.loads(self._file.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return {one["model"]: one for one in kept if _age(one) < FRESH_SECONDS}

    def _keep(self, found: Mapping[str, Json]) -> None:
        """Keep what was found out whole: what failed is tried again at the next question."""
        whole = {name: one for name, one in found.items() if not one["not_found_out"]}
        newest = sorted((self._known() | whole).values(), key=_age)[:_MOST_KEPT]
        with suppress(OSError):
            self._file.write_bytes(orjson.dumps(newest))


def _age(one: Json) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(one["checked_at"])).total_seconds()


def summed(checks: Sequence[Json]) -> Json:
    """Give the percentage of what works, of what could be found out, and what is missing in words."""
    by: dict[Outcome, list[Json]] = {"works": [], "missing": [], "unknown": []}
    for check in checks:
        by[check["outcome"]].append(check)
    known = len(by["works"]) + len(by["missing"])
    return {
        "compatibility_percent": round(100 * len(by["works"]) / known) if known else None,
        "missing": [f"{check['name']}: {check['why']}" for check in by["missing"]],
        "not_found_out": [f"{check['name']}: {check['why']}" for check in by["unknown"]],
    }


async def _tried(check: Check, asks: _Asking, limit: float) -> Json:
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    outcome: Outcome = "works"
    why: str | None = None
    try:
        async with asyncio.timeout_at(min(limit, loop.time() + CHECK_SECONDS)):
            await check.run(asks)
    except Missing as missing:
        outcome, why = "missing", str(missing)
    except TimeoutError:
        outcome, why = "unknown", "no whole answer came in time"
    except GatewayError as error:
        outcome = "missing" if error.status_sent in _REFUSED else "unknown"
        why = f"{error.status_sent} {error.message}"[:_LONGEST]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        outcome, why = "missing", f"the answer was not of a Message's form ({type(error).__name__})"
    ms = round((time.perf_counter() - started) * 1000)
    return {"name": check.name, "what": check.what, "outcome": outcome, "why": why, "ms": ms}


class _Asking:
    """Sends the checks' requests through the gateway's own pipeline."""

    def __init__(self, gateway: Gateway, model: str) -> None:
        self._gateway = gateway
        self._model = model

    def _exchange(self, body: Json) -> Exchange:
        headers = {"anthropic-version": "2023-06-01", "x-claude-code-session-id": "headgate-check"}
        return Exchange(new_id("req"), headers, orjson.dumps({"model": self._model, **body}))

    async def whole(self, body: Json) -> Json:
        answer = await self._gateway.answer_own(self._exchange(body))
        assert isinstance(answer, Whole)  # noqa: S101 - no stream was asked for
        message: Json = orjson.loads(answer.body)
        return message

    async def stream(self, body: Json) -> list[Event]:
        answer = await self._gateway.answer_own(self._exchange(body | {"stream": True}))
        if isinstance(answer, Whole):
            raise InvalidRequest("a stream was asked for, and a whole answer came")
        decoder, events = SseDecoder(), list[Any]()
        async with aclosing(answer.frames) as frames:  # type: ignore[type-var]
            async for data in frames:
                events += [orjson.loads(frame.data) for frame in decoder.feed(data) if frame.data]
        return events

    async def count(self, body: Json) -> int:
        answer = await self._gateway.count_own(
            self._exchange({name: value for name, value in body.items() if name != "max_tokens"})
        )
        return int(orjson.loads(answer.body)["input_tokens"])
