"""Records runs on a Prefect server, in a process of its own.

The gateway's side is `SocketSink`: small bounded frames over a Unix socket, dropped and counted
when nobody takes them. The other side, `python -m express.recorder`, writes what the server can
take through its public HTTP endpoints, and leaves out the rest by chance.
"""

from __future__ import annotations

from express.recorder.allowance import Allowance
from express.recorder.sink import SocketSink, recorder_stats

__all__ = ["Allowance", "SocketSink", "recorder_stats"]
