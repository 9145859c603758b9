"""Kill -9, at random, of what a batch runs on; and a table of what came of it.

A `Scene` is a server, perhaps workers and a database, before a fake upstream that fails. `kill` is told what
to kill, and starts again what does not start by itself. `Killer` does so at moments drawn from a seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import psutil

from coordinators.batch_store import SqlBatchStore
from tests.e2e.gateways import Headgate, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.faulty import FakeFaulty
    from tests.fakes.postgres_server import PostgresServer

Kind: TypeAlias = Literal["supervisor", "everything", "batches", "worker", "postgres", "prefect"]

SAID = {
    "supervisor": "the supervisor (its children end by themselves)",
    "everything": "all processes of the server",
    "batches": "the process `batches`",
    "worker": "a `headgate worker`",
    "postgres": "PostgreSQL",
    "prefect": "the Prefect server",
}
LONGEST = 240.0
"""Seconds in which a batch must get on after a kill, and its processes must have ended."""


def runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Scene:
    """A server, with `workers` of a work pool and PostgreSQL if there are any."""

    def __init__(
        self,
        folder: Path,
        upstream: FakeFaulty,
        *,
        prefect: bool = False,
        workers: int = 0,
        postgres: PostgresServer | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.postgres = postgres
        self.prefect_port = free_port()
        given = {"PREFECT_SERVER_API_PORT": str(self.prefect_port), "OPENROUTER_WIRE": "auto"} | settings
        if postgres is not None:
            given["DATABASE_URL"] = postgres.url()
        if workers:
            given["HEADGATE_WORK_POOL"] = "kills"
        self.server = Headgate(
            folder / "server", upstream.base_url, "auto", *(() if prefect else ("--no-prefect",)), **given
        )
        self.workers: list[subprocess.Popen[bytes]] = []
        self._prefect = prefect
        self._wanted_workers = workers
        self._ever: dict[int, psutil.Process] = {}
        database = f"sqlite:///{folder / 'server' / 'data' / 'headgate.db'}"
        self.store = SqlBatchStore(postgres.url() if postgres is not None else database)

    async def __aenter__(self) -> Self:
        try:
            self.server.start()
            await self.store.open()
            for _ in range(self._wanted_workers):
                self._start_worker()
            if self._prefect:
                self._wait_until(self._has_started, "Prefect or a worker does not start")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        if self.server.process is not None:
            self.remember()
            self.server.__exit__()
        await self.store.close()

    def _has_started(self) -> bool:
        """Say whether Prefect answers and all workers, which it must for them, look for chunks."""
        if self._wanted_workers:
            return (self.folder / "workers.log").read_text().count("worker ready") >= self._wanted_workers
        return not _is_free(self.prefect_port)

    def _start_worker(self) -> None:
        environment = self.server.environment | {
            "PREFECT_API_URL": f"http://127.0.0.1:{self.prefect_port}/api",
            "PREFECT_HOME": str(self.folder / "worker"),
        }
        (self.folder / "worker").mkdir(exist_ok=True)
        with (self.folder / "workers.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "headgate", "worker", "--limit", "2"],
                cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.workers.append(worker)

    def remember(self) -> None:
        """Take note of the server's processes, to see later that they ended."""
        assert self.server.process is not None
        for process in psutil.Process(self.server.process.pid).children(recursive=True):
            self._ever[process.pid] = process

    def logs(self) -> str:
        paths = [self.server.log, self.folder / "workers.log"]
        return "\n".join(f"{path}:\n{path.read_text()[-6000:]}" for path in paths if path.exists())

    def kill(self, kind: Kind, drawn: random.Random) -> None:
        match kind:
            case "supervisor" | "everything":
                self._kill_server(everything=kind == "everything")
            case "batches" | "prefect":
                self._wait_until(lambda: bool(self._children(kind)), f"no process {kind} to be killed")
                for process in self._children(kind):
                    process.kill()
            case "worker":
                worker = self.workers.pop(drawn.randrange(len(self.workers)))
                worker.kill()
                worker.wait()
                self._start_worker()
            case "postgres":
                assert self.postgres is not None
                self.postgres.restart()

    def _children(self, kind: Kind) -> list[psutil.Process]:
        """Give the process of this kind; none while the supervisor waits to start it again."""
        assert self.server.process is not None
        mark = {"batches": "headgate.batches", "prefect": "prefect_child.py"}[kind]
        self.remember()
        found = []
        for process in psutil.Process(self.server.process.pid).children():
            try:
                found += [process] if any(word.endswith(mark) for word in process.cmdline()) else []
            except psutil.Error:
                continue
        return found

    def _kill_server(self, *, everything: bool) -> None:
        assert self.server.process is not None
        self.remember()
        children = psutil.Process(self.server.process.pid).children(recursive=True)
        self.server.process.kill()
        self.server.process.wait()
        for process in children if everything else ():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._wait_until(lambda: _is_free(self.server.port), "the old web process holds the port")
        self.server.start()

    def check_no_leftovers(self) -> None:
        """Wait for the end of every process whose supervisor was killed."""
        assert self.server.process is not None
        now = {one.pid for one in psutil.Process(self.server.process.pid).children(recursive=True)}
        old = [process for pid, process in self._ever.items() if pid not in now]
        self._wait_until(lambda: not any(map(runs, old)), f"not ended: {[one for one in old if runs(one)]}")

    def _wait_until(self, done: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + LONGEST
        while not done():
            assert time.monotonic() < limit, f"{what}\n{self.logs()}"
            time.sleep(0.1)


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass
class Kill:
    """One kill: what, when, how many requests were done then, and seconds until one more was."""

    what: Kind
    at: float
    done: int
    ready: float = 0.0
    again: float | None = None
    note: str = ""


@dataclass
class Killer:
    """Kills at `count` moments of a batch, drawn from `seed`; a quarter of them soon after the last."""

    scene: Scene
    batch_id: str
    kinds: tuple[Kind, ...]
    count: int
    seed: int
    kills: list[Kill] = field(default_factory=list)
    seconds: float = 0.0
    _began: float = 0.0

    async def run(self) -> None:
        """Kill, and see after every kill that the batch gets on; returns when it has ended."""
        drawn = random.Random(self.seed)
        self._began = time.monotonic()
        items = (await self._batch()).items
        moments = sorted(drawn.uniform(0.01, 0.85) for _ in range(self.count))
        kinds = [self.kinds[turn % len(self.kinds)] for turn in range(self.count)]
        drawn.shuffle(kinds)
        for moment, kind in zip(moments, kinds, strict=True):
            if self.kills and drawn.random() < 0.25:
                await asyncio.sleep(drawn.uniform(0.1, 4.0))
            else:
                await self._until(lambda done, at=moment * items: done >= at and self._gets_on())
                await asyncio.sleep(drawn.uniform(0.0, 0.5))
            await self._kill(kind, drawn)
        await self._until(lambda done: done >= items and self._gets_on())
        self.seconds = time.monotonic() - self._began

    async def _kill(self, kind: Kind, drawn: random.Random) -> None:
        at = time.monotonic()
        self.scene.kill(kind, drawn)
        ready = time.monotonic() - at
        batch = await self._batch()
        kill = Kill(kind, at - self._began, batch.items - batch.counts.processing, ready)
        kill.note = "" if batch.status == "in_progress" and batch.counts.processing else "after its end"
        if self.kills and self.kills[-1].again is None:
            self.kills[-1].note = "killed again before"
        self.kills.append(kill)

    def _gets_on(self) -> bool:
        return all(kill.again is not None for kill in self.kills)

    async def _batch(self) -> Any:
        batch = await self.scene.store.get(self.batch_id)
        assert batch is not None
        return batch

    async def _until(self, condition: Callable[[int], bool]) -> None:
        limit = time.monotonic() + LONGEST
        seen = -1
        while True:
            batch = await self._batch()
            done = batch.items - batch.counts.processing
            for kill in self.kills:
                if kill.again is None and (done > kill.done or done == batch.items):
                    kill.again = time.monotonic() - self._began - kill.at
            if condition(done):
                return
            if done > seen:
                seen, limit = done, time.monotonic() + LONGEST
            assert time.monotonic() < limit, f"no progress since {seen}:\n{self.table()}\n{self.scene.logs()}"
            await asyncio.sleep(0.1)

    def table(self, *more: str) -> str:
        """Give the table of kills, in Markdown."""
        lines = [
            f"{len(self.kills)} kills in {self.seconds:.0f} s, seed {self.seed}",
            "",
            "| # | killed | after | requests done | started again | next result | |",
            "|--:|---|--:|--:|--:|--:|---|",
        ]
        for number, kill in enumerate(self.kills, 1):
            again = "" if kill.again is None else f"{kill.again:.1f} s"
            lines.append(
                f"| {number} | {SAID[kill.what]} | {kill.at:.1f} s | {kill.done:,} | {kill.ready:.1f} s "
                f"| {again} | {kill.note or 'went on'} |"
            )
        return "\n".join([*lines, "", *more, ""])


def seed() -> int:
    """Give HEADGATE_KILLS_SEED, or a new one."""
    return int(os.environ.get("HEADGATE_KILLS_SEED") or random.SystemRandom().randrange(10**6))


def how_many(usual: int) -> int:
    """Give HEADGATE_KILLS, or the usual number."""
    return int(os.environ.get("HEADGATE_KILLS") or usual)
