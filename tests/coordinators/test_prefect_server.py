"""The embedded Prefect server as the real process it is, among neighbours that want its port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from coordinators import prefect_server as module
from coordinators.prefect_server import PrefectServer, free_port
from tests.fakes import prefect_database
from tests.fakes.processes import alive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_passed_over(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_port(HOST, taken) > taken
    monkeypatch.setattr(module, "PORTS_TRIED", 1)
    assert free_port(HOST, taken) not in {0, taken}
    with pytest.raises(OSError, match=r"no free port on 203\.0\.113\.1"):
        free_port("203.0.113.1", taken)


@pytest.mark.skipif(sys.platform != "linux", reason="ports are claimed by names that only Linux has")
async def test_two_servers_that_start_together_settle_on_two_ports(tmp_path: Path, taken: int) -> None:
    one, two = (PrefectServer(tmp_path, port=taken, environment={}) for _ in range(2))
    one.choose_port()
    one.choose_port()  # again, as its start does
    two.choose_port()
    assert taken < one.port < two.port
    await one.stop()
    three = PrefectServer(tmp_path, port=one.port, environment={})
    three.choose_port()
    assert three.port == one.port
    await asyncio.gather(two.stop(), three.stop())


def test_the_child_sees_no_keys_and_shows_itself_to_its_own_pages_only(tmp_path: Path) -> None:
    environment = {
        "PATH": "/bin",
        "OPENROUTER_API_KEY": "sk-secret",
        "PREFECT_API_URL": "http://elsewhere/api",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "7200",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql://elsewhere",
    }
    server = PrefectServer(tmp_path, 4321, environment=environment)
    variables = server.variables()
    assert variables["PATH"] == "/bin"
    assert "sk-secret" not in variables.values()
    assert "PREFECT_API_URL" not in variables
    assert variables["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"].endswith("/prefect/prefect.db")
    assert (
        variables["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4321,http://localhost:4321"
    )
    assert variables["PREFECT_SERVER_UI_API_URL"] == server.url == "http://127.0.0.1:4321/api"
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert "flow_runs" in variables["PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"]
    assert variables["PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"] == "7200"


async def test_it_runs_in_its_own_home_and_shows_only_itself(prefect_server: PrefectServer) -> None:
    assert prefect_server.running
    assert os.getpriority(os.PRIO_PROCESS, prefect_server.pid or 0) == 10
    assert (prefect_server.home / "prefect.db").exists()
    assert prefect_server.home.stat().st_mode & 0o777 == 0o700
    async with aiohttp.ClientSession() as session:
        async with session.get(prefect_server.ui_url) as page:
            assert page.status == 200
        headers = {"origin": "http://evil.example"}
        async with session.get(f"{prefect_server.url}/health", headers=headers) as answer:
            assert "access-control-allow-origin" not in answer.headers
    other = PrefectServer(prefect_server.home.parent / "other", prefect_server.port)
    assert other.mark != prefect_server.mark
    async with aiohttp.ClientSession() as session:
        assert await prefect_server._answers(session)
        assert not await other._answers(session)


async def test_what_answers_on_its_port_must_be_its_own(
    prefect_server: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another Prefect server takes the port between the look for a free one and the child's bind."""
    real, looks = module.free_port, [prefect_server.port]
    monkeypatch.setattr(
        module, "free_port", lambda host, wanted: looks.pop() if looks else real(host, wanted)
    )
    # somebody else's server, that is: ours know of each other
    monkeypatch.setattr(PrefectServer, "_claims", lambda server, port: True)
    prefect_database.place(tmp_path)
    server = PrefectServer(tmp_path, prefect_server.port)
    await server.start()
    assert server.port == prefect_server.port
    assert await server.ready(within=100)
    assert server.port > prefect_server.port
    await server.stop()
    assert not server.running
    await server.stop()


async def test_a_server_that_ends_by_itself_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.prefect_child, "__file__", str(tmp_path / "missing.py"))
    server = PrefectServer(tmp_path, 4390)
    assert server.pid is None
    with pytest.raises(RuntimeError, match="never started"):
        await server.wait()
    await server.stop()
    await server.start()
    assert await server.wait() == 2
    assert not await server.ready()
    assert "missing.py" in server.log_path.read_text()
    await server.stop()


async def test_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = tmp_path / "deaf.py"
    deaf.write_text("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)")
    monkeypatch.setattr(module.prefect_child, "__file__", str(deaf))
    server = PrefectServer(tmp_path, 4390)
    server.home.mkdir(parents=True)
    server.log_path.write_text("x" * 100)
    monkeypatch.setattr(module, "LOG_BYTES", 50)
    await server.start()
    assert not await server.ready(within=0.5)
    assert (server.home / "server.log.1").read_text() == "x" * 100
    await server.stop(within=0.2)
    assert await server.wait() == -signal.SIGKILL


PARENT = """
import asyncio, sys
from pathlib import Path
from coordinators.prefect_server import PrefectServer
async def main():
    server = PrefectServer(Path(sys.argv[1]), 4380)
    await server.start()
    print(server.pid, flush=True)
    await server.wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM])
async def test_it_ends_with_its_parent_however_that_ends(tmp_path: Path, way: int) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    await asyncio.sleep(1.0)  # deep in its imports, or not yet there: both must do
    parent.send_signal(way)
    await parent.wait()
    async with asyncio.timeout(60):
        while alive(pid):
            await asyncio.sleep(0.05)


def test_following_a_parent_without_a_kernel_that_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    from coordinators import prefect_child

    told: list[Any] = []
    ours, theirs = os.pipe()
    monkeypatch.setattr(prefect_child.sys, "platform", "elsewhere")
    monkeypatch.setattr(prefect_child.os, "read", lambda _, size, read=os.read: read(ours, size))
    monkeypatch.setattr(prefect_child.os, "kill", lambda pid, number: told.append((pid, number)))
    monkeypatch.setattr(prefect_child.os, "_exit", told.append)
    watcher = prefect_child.follow_parent(signal.SIGTERM, grace=0.01)
    os.write(theirs, b"still here")
    os.close(theirs)
    watcher.join(5)
    while len(told) < 2:
        pass
    os.close(ours)
    assert told == [(os.getpid(), signal.SIGTERM), 1]


CONNECTION = """
import asyncio, sys
from coordinators import prefect_child
prefect_child.wait_briefly_for_the_database()
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
async def main():
    engine = await AioSqliteConfiguration("sqlite+aiosqlite:///" + sys.argv[1]).engine()
    async with engine.connect() as connection:
        for asked in ("busy_timeout", "journal_mode"):
            print((await connection.execute(text(f"PRAGMA {asked}"))).scalar())
    await engine.dispose()
asyncio.run(main())
"""


async def test_its_connections_wait_for_the_database_for_two_seconds(tmp_path: Path) -> None:
    """Longer waits stop the whole server: see `wait_briefly_for_the_database`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CONNECTION, str(tmp_path / "db"), stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PREFECT_HOME": str(tmp_path)},
    )  # fmt: skip
    told, _ = await process.communicate()
    assert told.split() == [b"2000", b"wal"]
