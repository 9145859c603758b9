"""One web process: `python -m headgate.web FD`, started by the supervisor with a listening socket."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from headgate.app import create_app
from headgate.instance import Instance
from headgate.logs import configure_logs
from headgate.protocol import Protocol
from headgate.settings import load_settings

if TYPE_CHECKING:
    from fastapi import FastAPI

_GARBAGE_THRESHOLD = 50_000


class DrainingServer(uvicorn.Server):
    """A server that, told to stop, cuts the streams still open after the grace time, with an error."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, grace: float) -> None:
        super().__init__(config)
        self._app = app
        self._grace = grace

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listening sockets, end or cut what is open, then close the rest."""
        cutting = asyncio.create_task(self._app.state.gateway.drain(self._grace))
        try:
            await super().shutdown(sockets)
        finally:
            await cutting


async def serve(fd: int) -> None:
    """Serve on the listening socket until told to stop."""
    settings = load_settings()
    configure_logs(settings.log_level)
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
    server = DrainingServer(config, app, settings.grace_seconds)
    listening = socket.socket(fileno=fd)
    listening.setblocking(False)
    # What is alive now stays alive: collecting garbage need not look at it again. One large body is
    # thousands of containers, none of them in a cycle: at the usual 700 they would set it off many times.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD, 20, 20)
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
