"""The embedded Prefect server's process: `prefect server start`, bound to the life of its parent.

Run as a file (`python -P prefect_child.py HOST PORT`), never imported by the gateway. Its standard
input is a pipe that the parent holds open: end of file means that the parent is gone, however it
went. On Linux the kernel says so as well. Elsewhere the pipe alone has to do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from typing import Any

from express.niceness import give_way

PR_SET_PDEATHSIG = 1
NICENESS = 10
# An orphan that has not ended by itself after this long is ended.
GRACE_SECONDS = 5.0
BUSY_MILLISECONDS = 2000


def follow_parent(end: int = signal.SIGTERM, grace: float = GRACE_SECONDS) -> threading.Thread:
    """Have this process end with its parent: by the signal `end`, or by force after `grace`."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, end, 0, 0, 0)

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), end)
        force = threading.Timer(grace, os._exit, [1])
        force.daemon = True
        force.start()

    watcher = threading.Thread(target=watch, name="parent-watch", daemon=True)
    watcher.start()
    return watcher


def wait_briefly_for_the_database() -> None:
    """Have each of Prefect's connections to SQLite wait 2 s for a lock, not the 60 that Prefect sets.

    While a statement waits, its thread holds the connection's mutex; the garbage collector that meets a
    cursor of that connection in the main thread waits with it, and so does the whole server. After a burst of
    runs it answered nothing for up to a minute. Prefect has no setting for this: its own `PRAGMA` comes after
    whatever the database's address says. A call that meets a lock for longer is answered by 503, and sent
    again by the recorder and by Prefect's clients; events wait in Prefect's queues for their next turn.
    """
    from prefect.server.database.configurations import AioSqliteConfiguration  # noqa: PLC0415 - see `main`

    usual = AioSqliteConfiguration.setup_sqlite

    def setup(self: AioSqliteConfiguration, conn: Any, record: Any) -> None:
        usual(self, conn, record)
        cursor = conn.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        cursor.close()

    AioSqliteConfiguration.setup_sqlite = setup  # type: ignore[method-assign]


def main(host: str, port: str) -> None:
    """Serve until a signal ends it."""
    give_way(NICENESS)
    follow_parent()
    from prefect.cli import app  # noqa: PLC0415 - seconds of imports: the parent is followed first

    wait_briefly_for_the_database()
    sys.argv = ["prefect", "server", "start", "--host", host, "--port", port]
    app()


if __name__ == "__main__":
    main(*sys.argv[1:])
