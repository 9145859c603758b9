"""Prefect's engine and client on a loop of their own, in a thread of their own.

Its engine waits for threads and servers in ways that hold up the loop it runs on, for seconds if the server
is slow; and in the main thread it takes over SIGTERM. Here neither touches the loop that does the work.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectSignal
from prefect.flow_engine import run_flow_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

    from express import Pipeline

T = TypeVar("T")


class PrefectStopped(Exception):
    """Prefect ended a flow by a signal of its own: the run was aborted, paused or taken from us."""


class PrefectThread:
    """A thread for Prefect. `call` may be awaited on any other loop; the thread starts with the first."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: PrefectClient | None = None

    async def call(self, ask: Callable[[PrefectClient], Awaitable[T]], *, within: float | None = None) -> T:
        """Give what `ask` gives for the thread's client; raises what it raises, TimeoutError too."""
        answer: T = await self._there(self._asked(ask, within))
        return answer

    async def run_flow(self, flow: Pipeline[..., Any], run: FlowRun, parameters: Mapping[str, Any]) -> Any:
        """Have Prefect's engine run a flow as this run; raises what the flow raises, PrefectStopped."""
        return await self._there(_run(flow, run, parameters))

    async def close(self, seconds: float = 5.0) -> None:
        """End the thread, or leave it behind if it does not end in time."""
        if self._loop is None or self._thread is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._there(self._closed())
        except TimeoutError:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, seconds)

    async def _there(self, work: Any) -> Any:
        loop = self._loop or self._start()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.new_event_loop()

        def run() -> None:
            asyncio.set_event_loop(loop)
            try:
                loop.run_forever()
            finally:
                loop.close()

        self._thread = threading.Thread(target=run, name="prefect", daemon=True)
        self._thread.start()
        return loop

    async def _asked(self, ask: Callable[[PrefectClient], Awaitable[T]], within: float | None) -> T:
        async with asyncio.timeout(within):
            if self._client is None:
                client = get_client()
                await client.__aenter__()
                self._client = client
            return await ask(self._client)

    async def _closed(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(None, None, None)
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _run(flow: Pipeline[..., Any], run: FlowRun, parameters: Mapping[str, Any]) -> Any:
    # Known as a deployment's run it would be watched, by a thread and a connection, for being suspended: that
    # is looked for here as well, and what is under way is not to be thrown over for it.
    run = run.model_copy(update={"deployment_id": None})
    try:
        return await run_flow_async(flow, flow_run=run, parameters=dict(parameters))
    except PrefectSignal as signal:
        raise PrefectStopped(f"{type(signal).__name__}: {str(signal)[:200]}") from None
