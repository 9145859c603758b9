"""A child process that is started again when it ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_log = structlog.get_logger("headgate.supervisor")
_LONG_RUN = 30.0
_LONGEST_PAUSE = 10.0


class Child:
    """One process, kept running until `stop`.

    It holds the read end of a pipe as its standard input, whose end tells it that we are gone; it
    leads a session of its own, so that Ctrl-C on the terminal reaches only us. `ended` is told its name and
    exit code whenever it ends by itself.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        fds: Sequence[int] = (),
        ended: Callable[[str, int], None] | None = None,
    ) -> None:
        self.name = name
        self.restarts = 0
        self.last_exit: tuple[int, str] | None = None
        self.process: asyncio.subprocess.Process | None = None
        self._argv = argv
        self._env = env
        self._fds = fds
        self._ended = ended
        self._stopping = False
        self._replaced = False
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
        } | ({"last_exit": self.last_exit[0], "last_exit_at": self.last_exit[1]} if self.last_exit else {})

    async def start(self) -> None:
        """Start it, and keep it running from now on."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def start_and_read_line(self, seconds: float) -> bytes:
        """Start it and give the first line it prints (its address); empty if none comes in time."""
        self._stdout = asyncio.subprocess.PIPE
        await self.start()
        stream = self.process.stdout if self.process else None
        if stream is None:
            raise RuntimeError(f"{self.name} has no standard output")
        try:
            async with asyncio.timeout(seconds):
                return await stream.readline()
        except TimeoutError:
            return b""

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
            if self._replaced:
                self._replaced = False
                await self._spawn_after(0)
                continue
            if time.monotonic() - started > _LONG_RUN:
                pause = 0.5
            _log.error("process ended, starting it again", process=self.name, code=code, pause=pause)
            self.last_exit = code, datetime.now(UTC).isoformat(timespec="seconds")
            if self._ended is not None:
                self._ended(self.name, code)
            await self._spawn_after(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _spawn_after(self, pause: float) -> None:
        """Start it again, however often the system refuses to; not once it is to end."""
        while True:
            await asyncio.sleep(pause)
            if self._stopping:
                return
            self.restarts += 1
            try:
                await self._spawn()
            except OSError as error:
                _log.error("process cannot be started", process=self.name, because=error.strerror)
                pause = _LONGEST_PAUSE
            else:
                return

    def start_again(self, env: Mapping[str, str]) -> None:
        """Ask it to end, and have it begin anew in this environment."""
        self._env = env
        if self.process is not None and self.process.returncode is None:
            self._replaced = True
            self.process.terminate()

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
                _log.warning("process did not end when told to, ending it by force", process=self.name)
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
