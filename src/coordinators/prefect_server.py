"""The embedded Prefect server: a child process with its own home and database.

Something else may listen on the port it wants, another Prefect server even. So the server of each gateway has
a random mark, which it shows among its settings: only what shows the mark is ours.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import orjson

from coordinators import prefect_child
from express.recorder.server import Mark, shows

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 4200
PORTS_TRIED = 50
STARTS_TRIED = 5
POLL_SECONDS = 0.2
STOP_SECONDS = 8.0
RETENTION_SECONDS = 7 * 24 * 3600
LOG_BYTES = 10_000_000

MARK = "x-headgate-server"

# The child needs a machine to run on, not the gateway's keys.
_INHERITED = {
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "SSL_CERT_DIR",
    "SSL_CERT_FILE", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "TZ", "VIRTUAL_ENV",
}  # fmt: skip


def free_port(host: str, wanted: int) -> int:
    """Give the first port from `wanted` on that nobody listens on, or any other free one."""
    for port in (*range(wanted, min(wanted + PORTS_TRIED, 65536)), 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # as the server itself will: a closed connection's wait does not keep the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((host, port))
                return int(probe.getsockname()[1])
    raise OSError(f"no free port on {host}")


class PrefectServer:
    """Starts, watches and stops the embedded server; a supervisor restarts it.

    `start` returns at once, `ready` waits until it answers, `wait` until it ends.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        host: str = "127.0.0.1",
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.host = host
        self.port = port or DEFAULT_PORT
        self.home = Path(data_dir) / "prefect"
        self.log_path = self.home / "server.log"
        self._environment = environment
        self.mark = Mark(MARK, secrets.token_hex(16))
        self._process: asyncio.subprocess.Process | None = None
        self._claim: tuple[int, socket.socket] | None = None

    @property
    def url(self) -> str:
        """Give the API's address; it may change with a start."""
        return f"{self.ui_url}/api"

    @property
    def ui_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def choose_port(self) -> None:
        """Settle on the wanted port or the next free one before the start, which keeps it if it can.

        No other server of ours on this machine settles on it until this one has stopped.
        """
        port = free_port(self.host, self.port)
        while not self._claims(port):
            port = free_port(self.host, port + 1)
        self.port = port

    def _claims(self, port: int) -> bool:
        """Claim a port by a name that the kernel lets go of with this process; true where it has no such."""
        if sys.platform != "linux" or (self._claim is not None and self._claim[0] == port):
            return True
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0headgate-prefect-{port}")
        except OSError:
            claim.close()
            return False
        self._let_go()
        self._claim = port, claim
        return True

    def _let_go(self) -> None:
        if self._claim is not None:
            self._claim[1].close()
            self._claim = None

    async def start(self) -> None:
        """Start the process on the wanted port or the next free one; call it from the main thread.

        (The kernel takes the end of the thread that started a child for the end of its parent.)
        """
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        self.choose_port()
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                str(prefect_child.__file__),
                self.host,
                str(self.port),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self.variables(),
                start_new_session=True,  # a terminal's ctrl-c is for the supervisor to act on
            )

    def variables(self) -> dict[str, str]:
        """Give the child's environment: what of ours it may see, and Prefect's settings."""
        ours = {
            k: v for k, v in self._environment.items() if k in _INHERITED or k.startswith("PREFECT_SERVER_")
        }
        database = f"sqlite+aiosqlite:///{self.home / 'prefect.db'}"
        return {
            # a developer may set these otherwise
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(RETENTION_SECONDS),
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_QUEUE_MAX_SIZE": "10000",
            # each is a wait of 2 s for the database (`prefect_child`), where Prefect's own has 60
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_MAX_FLUSH_RETRIES": "30",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            **ours,
            # and these not
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_API_HOST": self.host,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_UI_API_URL": self.url,
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"{self.ui_url},http://localhost:{self.port}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_EVENTS_WORKER_MAX_QUEUE_SIZE": "10000",
            "PREFECT_CLIENT_CUSTOM_HEADERS": orjson.dumps({MARK: self.mark.value}).decode(),
            "DO_NOT_TRACK": "1",
        }

    async def ready(self, within: float = 60.0) -> bool:
        """Wait until the server answers, and is ours; false if it ended or the time is up.

        When somebody took its port while it was starting, it starts again on the next.
        """
        starts = 1
        with suppress(TimeoutError):
            async with asyncio.timeout(within), aiohttp.ClientSession() as session:
                while True:
                    if not self.running:
                        if starts == STARTS_TRIED or free_port(self.host, self.port) == self.port:
                            return False  # it ended for another reason than its port
                        starts += 1
                        await self.start()
                    elif await self._answers(session):
                        return True
                    await asyncio.sleep(POLL_SECONDS)
        return False

    async def wait(self) -> int:
        """Wait until the process ends; give its exit code."""
        if self._process is None:
            raise RuntimeError("the Prefect server was never started")
        return await self._process.wait()

    async def stop(self, within: float = STOP_SECONDS) -> None:
        """End the process, by force if it does not go within the time."""
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(within):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self._let_go()

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        """Ask what listens on the port for its settings, and look for the mark."""
        try:
            async with session.get(f"{self.url}/admin/settings", allow_redirects=False) as response:
                return shows(await response.read(), self.mark)
        except (aiohttp.ClientError, OSError):
            return False
