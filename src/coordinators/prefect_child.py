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

PR_SET_PDEATHSIG = 1
NICENESS = 10
# An orphan that has not ended by itself after this long is ended.
GRACE_SECONDS = 5.0


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


def main(host: str, port: str) -> None:
    """Serve until a signal ends it."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICENESS)
    follow_parent()
    from prefect.cli import app  # noqa: PLC0415 - seconds of imports: the parent is followed first

    sys.argv = ["prefect", "server", "start", "--host", host, "--port", port]
    app()


if __name__ == "__main__":
    main(*sys.argv[1:])
