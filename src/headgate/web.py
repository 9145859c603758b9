"""One web process: `python -m headgate.web FD`, started by the supervisor with a listening socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from headgate import garbage
from headgate.app import create_app
from headgate.instance import Instance
from headgate.logs import configure_logs
from headgate.protocol import Protocol
from headgate.recording import scrubber_of, watch_logs, watch_process
from headgate.settings import load_settings

if TYPE_CHECKING:
    from types import FrameType

    from fastapi import FastAPI


class DrainingServer(uvicorn.Server):
    """A server that, told to stop, is not ready from then on, but serves for `drain` seconds all the same.

    Then it takes no more; streams still open after the `grace` time are cut, with an error.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, *, drain: float, grace: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain = drain
        self._grace = grace

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take note of a signal to stop."""
        self._app.state.readiness.drain()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and from then on note what nobody catches."""
        await super().startup(sockets)
        if self.started:
            watch_process(self._app.state.errors)
            watch_logs(self._app.state.errors)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listening sockets, end or cut what is open, then close the rest."""
        limit = asyncio.get_running_loop().time() + self._drain
        # uvicorn tells of a second Ctrl-C by a plain flag
        while asyncio.get_running_loop().time() < limit and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        self._app.state.readiness.end()
        cutting = asyncio.create_task(self._app.state.gateway.drain(self._grace))
        try:
            await super().shutdown(sockets)
        finally:
            await cutting


async def serve(fd: int) -> None:
    """Serve on the listening socket until told to stop."""
    settings = load_settings()
    configure_logs(settings.log_level, scrubber_of(settings))
    app = create_app(settings, Instance.from_environment())
    config = uvicorn.Config(
        app,
        http=Protocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing here believes a client's word on where it comes from
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds) + 2),
        backlog=2048,
    )
    server = DrainingServer(config, app, drain=settings.drain_seconds, grace=settings.grace_seconds)
    listening = socket.socket(fileno=fd)
    listening.setblocking(False)
    garbage.settle()
    await server.serve(sockets=[listening])


def stop_with_parent() -> None:
    """Stop when standard input ends: the supervisor holds its other end."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    stop_with_parent()
    uvloop.run(serve(int(sys.argv[1])))
