"""The processes a run starts: started, asked, frozen and thawed, measured, and ended by pid."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self

import psutil  # type: ignore[import-untyped]  # it has no types of its own

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without proxies, keys or settings of the programs measured, plus `extra`."""
    ours = (
        "HEADGATE_",
        "PREFECT_",
        "OPENROUTER_",
        "LITELLM_",
        "ANTHROPIC_",
        "OPENAI_",
        "PROXY_",
        "DATABASE_",
    )
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and not name.lower().endswith("_proxy")
    }
    return {**kept, "NO_PROXY": "127.0.0.1,localhost", **extra}


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since their start and resident bytes now, of a tree and of its web process."""

    cpu: float
    web_cpu: float
    rss: int
    web_rss: int
    processes: int


@dataclass(slots=True)
class Child:
    """One started program and whatever it starts itself."""

    name: str
    process: subprocess.Popen[str]
    log: IO[str]
    started: float
    port: int = 0
    web_pid: int | None = None
    ended_cpu: dict[int, float] = field(default_factory=dict)

    def tree(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, order: Mapping[str, Any], limit: float) -> dict[str, Any]:
        """Send one JSON line, wait for one; the child is the load."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        with _alarm(limit):
            line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def find_web(self) -> psutil.Process | None:
        """Find the process that serves the port: of those that listen on it, the one that has worked most.

        Headgate's supervisor holds the socket too, but serves nothing: a descendant comes before the root.
        """
        root, *below = self.tree() or [None]
        listening = [process for process in below if _listens(process, self.port)]
        if not listening and root is not None and _listens(root, self.port):
            return root
        listening.sort(key=_cpu, reverse=True)
        return listening[0] if listening else None

    def usage(self) -> Usage:
        tree = self.tree()
        for process in tree:
            self.ended_cpu[process.pid] = _cpu(process)
        if self.web_pid is None and self.port and (found := self.find_web()):
            self.web_pid = found.pid
        web = [process for process in tree if process.pid == self.web_pid]
        return Usage(
            cpu=sum(self.ended_cpu.values()),
            web_cpu=sum(map(_cpu, web)),
            rss=sum(map(_rss, tree)),
            web_rss=sum(map(_rss, web)),
            processes=len(tree),
        )

    def freeze(self) -> None:
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                process.suspend()

    def thaw(self) -> None:
        for process in reversed(self.tree()):
            with contextlib.suppress(psutil.Error):
                process.resume()

    def end(self) -> None:
        """End the whole tree: politely, then not."""
        self.thaw()
        tree = self.tree()
        if tree:
            with contextlib.suppress(psutil.Error):
                tree[0].terminate()
            psutil.wait_procs(tree[:1], timeout=8)
        for process in tree:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(tree, timeout=3)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(3)
        self.log.close()


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(
        one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port for one in connections
    )


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeoutError(f"no answer within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Nursery:
    """All children of a run; leaving it ends them, by pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: dict[str, Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in reversed(self.children.values()):
            child.end()

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
        cwd: Path | None = None,
        piped_answers: bool = False,
    ) -> Child:
        """Start a program; what it says goes to a log file in the run's folder."""
        log = (self.folder / f"{name}.log").open("w")
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if piped_answers else log,
            stderr=log,
            text=True,
            cwd=cwd,
            env=child_environment(environment or {}),
            start_new_session=True,  # Ctrl-C reaches us alone; we end them
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl, and we have no threads of our own yet
        )
        child = Child(name, process, log, started, port)
        self.children[name] = child
        return child

    def end(self, name: str) -> None:
        if child := self.children.pop(name, None):
            child.end()

    @contextlib.contextmanager
    def only(self, awake: set[str]) -> Iterator[None]:
        """Freeze every child not named, so that the others have the machine to themselves."""
        frozen = [child for name, child in self.children.items() if name not in awake]
        for child in frozen:
            child.freeze()
        try:
            yield
        finally:
            for child in frozen:
                child.thaw()
