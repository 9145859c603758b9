"""A child process that is started again when it ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_log = structlog.get_logger("headgate.supervisor")
_LONG_RUN = 30.0
_LONGEST_PAUSE = 10.0


class Child:
    """One process, kept running until `stop`.

    It holds the read end of a pipe as its standard input, whose end tells it that we are gone; it
    leads a session of its own, so that Ctrl-C on the terminal reaches only us.
    """

    def __init__(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str], fds: Sequence[int] = ()
    ) -> None:
        self.name = name
        self.restarts = 0
        self.process: asyncio.subprocess.Process | None = None
        self._argv = argv
        self._env = env
        self._fds = fds
        self._stopping = False
        self._keeper: asyncio.Task[None] | None = None
        self._stdout: int | None = None

    @property
    def state(self) -> dict[str, Any]:
        """Say how it is: running or not, its pid, how often it was started again."""
        running = self.process is not None and self.process.returncode is None
        return {
            "state": "running" if running else "stopped",
            "pid": self.process.pid if self.process and running else None,
            "restarts": self.restarts,
        }

    async def start(self) -> None:
        """Start it, and keep it running from now on."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def start_and_read_line(self, seconds: float) -> bytes:
        """Start it and give the first line it prints (its address); raises TimeoutError."""
        self._stdout = asyncio.subprocess.PIPE
        await self.start()
        stream = self.process.stdout if self.process else None
        if stream is None:
            raise RuntimeError(f"{self.name} has no standard output")
        async with asyncio.timeout(seconds):
            return await stream.readline()

    async def _spawn(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=self._stdout,
            env=dict(self._env),
            pass_fds=tuple(self._fds),
            start_new_session=True,
        )

    async def _keep(self) -> None:
        pause = 0.5
        while self.process is not None:
            started = time.monotonic()
            code = await self.process.wait()
            if self._stopping:
                return
            if time.monotonic() - started > _LONG_RUN:
                pause = 0.5
            _log.error("process ended, starting it again", process=self.name, code=code, pause=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
            self.restarts += 1
            await self._spawn()

    async def stop(self, seconds: float) -> None:
        """Ask it to end; kill it if it has not after `seconds`."""
        self._stopping = True
        process = self.process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(seconds):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper

    def kill(self) -> None:
        """End it at once."""
        self._stopping = True
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
