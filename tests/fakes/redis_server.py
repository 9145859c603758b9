"""Debian's redis-server on a free port, ended by whoever started it."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from coordinators.prefect_server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def redis_server() -> Iterator[str]:
    """Start a server that keeps nothing on disk, and give its address."""
    port = free_port("127.0.0.1", 16379)
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        try:
            limit = time.monotonic() + 60
            while not answers(port):
                assert process.poll() is None, "redis-server ended"
                assert time.monotonic() < limit, "redis-server does not answer"
                time.sleep(0.05)
            yield f"redis://:@127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(10)
