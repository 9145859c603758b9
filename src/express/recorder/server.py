"""The Prefect server as the recorder sees it: HTTP calls that are repeated until they are taken."""

from __future__ import annotations

import asyncio
import base64
import random
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import aiohttp
import orjson

from express.recorder import payloads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from express.recorder.payloads import Json

TIMEOUT = aiohttp.ClientTimeout(total=15.0, connect=5.0)
BACKOFF_SECONDS = (0.2, 2.0)
_PASSING = {408, 425, 429}
# A server that did not answer may still be at it: ours waits 2 s for its database.
SETTLE_SECONDS = 3.0


class Refused(Exception):
    """The server will not take this, however often it is asked."""


class Mark(NamedTuple):
    """A header that a server of ours has among its client's settings, and shows: name and value."""

    name: str
    value: str


class PrefectApi:
    """One client for the recorder's life; every call goes on until it is taken or refused.

    With a `mark`, no connection is opened for a call before whoever listens has shown the mark on another:
    when our server is gone, somebody else may have its port, and what runs hold is not for them.
    """

    def __init__(
        self,
        url: str,
        counters: dict[str, int],
        environment: Mapping[str, str],
        *,
        mark: Mark | None = None,
        slowest: float | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.mark = mark
        self.reachable = False
        self.trouble: str | None = None
        self._counters = counters
        self._headers = {"content-type": "application/json", **_authorization(environment)}
        self._longest = slowest or BACKOFF_SECONDS[1]
        self._flows: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        checked = aiohttp.TraceConfig()
        checked.on_connection_create_start.append(self._check_mark)
        self._session = aiohttp.ClientSession(timeout=TIMEOUT, headers=self._headers, trace_configs=[checked])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def flow_id(self, name: str) -> str:
        """Give the id of the flow of this name; it is created if need be, and remembered."""
        known = self._flows.get(name)
        if known is None:
            known = self._flows[name] = (await self.call("POST", "/flows/", {"name": name}))["id"]
        return known

    async def create(self, document: Json, key: str) -> str:
        """Record a run as running; give its id on the server."""
        while True:
            flow_id = await self.flow_id(document["pipeline"])
            try:
                body = payloads.flow_run(document, flow_id, key)
                return str((await self._attempt("POST", "/flow_runs/", body))["id"])
            except _Passing as trouble:
                # the flow may be what is wrong: a server whose database was replaced knows it no more
                self._flows.pop(document["pipeline"], None)
                await self._pause(trouble)

    async def end(
        self, document: Json, flow_run_id: str, tags: list[str] | None, *, again: bool = False
    ) -> None:
        """Record how a run ended: its state first, so that the server's time for it is close.

        `tags` are those the server has already, if that is known. `again` says that some of it may have been
        told before, by a recorder that died: what the server has is not told twice.
        """
        state = payloads.final_state(document)
        if not (again and await self._is_in(state, flow_run_id)):
            await self.call("POST", f"/flow_runs/{flow_run_id}/set_state", state)
        if "steps" not in document:
            return
        if document["steps"]:
            flow_id = await self.flow_id(document["pipeline"])
            await self.call("POST", "/events", payloads.task_runs(document, flow_run_id, flow_id))
        if document["tags"] != tags:
            await self.call("PATCH", f"/flow_runs/{flow_run_id}", {"tags": document["tags"]})
        await self._add("artifacts", payloads.artifact(document, flow_run_id), flow_run_id, again=again)
        if lines := payloads.log_lines(document, flow_run_id):
            await self._add("logs", lines, flow_run_id, again=again)

    async def _is_in(self, state: Json, flow_run_id: str) -> bool:
        run = await self.call("GET", f"/flow_runs/{flow_run_id}", None)
        return bool(run["state_type"] == state["state"]["type"])

    async def _add(self, kind: str, body: object, flow_run_id: str, *, again: bool) -> None:
        """Add what gets its id from the server: before it is sent again, the server is asked if it has it."""
        while True:
            try:
                if again and await self._has(kind, flow_run_id):
                    return
                await self._attempt("POST", f"/{kind}/", body)
                return  # noqa: TRY300 - nothing else is left to do
            except _Passing as trouble:
                again = True
                await self._pause(trouble)
                if trouble.unsure:
                    await asyncio.sleep(SETTLE_SECONDS)

    async def _has(self, kind: str, flow_run_id: str) -> bool:
        of_run = {"flow_run_id": {"any_": [flow_run_id]}}
        return bool(await self._attempt("POST", f"/{kind}/filter", {kind: of_run, "limit": 1}))

    async def _check_mark(self, *_: object) -> None:
        """Raise if a new connection would not lead to our server."""
        if self.mark is None:
            return
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as session,
            session.get(f"{self.url}/admin/settings", allow_redirects=False) as response,
        ):
            answer = await response.read()
        if response.status >= 500:
            raise _Passing(f"GET /admin/settings: HTTP {response.status}")
        if not shows(answer, self.mark):
            raise _Passing(f"who answers at {self.url} is not our Prefect server: nothing is sent there")

    async def call(self, method: str, path: str, body: object) -> Any:
        """Call until the server takes it; raise Refused when it never will."""
        while True:
            try:
                return await self._attempt(method, path, body)
            except _Passing as trouble:
                await self._pause(trouble)

    async def _attempt(self, method: str, path: str, body: object) -> Any:
        if self._session is None:
            raise RuntimeError("the Prefect API is used inside `async with`")
        try:
            data = None if body is None else orjson.dumps(body)
            async with self._session.request(method, self.url + path, data=data) as response:
                answer = await response.read()
                status = response.status
                wait = response.headers.get("retry-after", "")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            sent = not isinstance(error, aiohttp.ClientConnectorError)
            raise _Passing(f"{type(error).__name__}: {error}", unsure=sent) from error
        if status >= 500 or status in _PASSING:
            raise _Passing(f"{method} {path}: HTTP {status}", wait)
        if status >= 400:
            raise Refused(f"{method} {path}: HTTP {status} {answer[:300].decode(errors='replace')}")
        self.reachable, self.trouble, self._failures = True, None, 0
        return orjson.loads(answer) if answer else None

    _failures = 0

    async def _pause(self, trouble: _Passing) -> None:
        """Wait before the next try: longer each time, together with whoever else meets trouble."""
        self._counters["retries"] += 1
        self.reachable, self.trouble = False, str(trouble)
        self._failures += 1
        longest = min(BACKOFF_SECONDS[0] * 2 ** min(self._failures, 10), self._longest)
        if trouble.wait.isdigit():
            longest = min(float(trouble.wait), 60.0)
        await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret


class _Passing(Exception):
    """Trouble that may be over soon; `wait` is what the server said of it.

    `unsure`: the server may have done what it was asked for, or may be about to.
    """

    def __init__(self, message: str, wait: str = "", *, unsure: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        self.unsure = unsure


def shows(settings: bytes, mark: Mark) -> bool:
    """Say whether this is what a server with the mark answers to `GET /admin/settings`."""
    try:
        return bool(orjson.loads(settings)["client"]["custom_headers"][mark.name] == mark.value)
    except (ValueError, KeyError, TypeError):
        return False


def _authorization(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the header that Prefect's own client would send with these settings."""
    if key := environment.get("PREFECT_API_KEY"):
        return {"authorization": f"Bearer {key}"}
    if login := environment.get("PREFECT_API_AUTH_STRING"):
        return {"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return {}
