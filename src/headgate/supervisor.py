"""`headgate serve`: starts the processes of one server, keeps them running, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from coordinators.http_upstream import HttpUpstream
from coordinators.prefect_server import PrefectServer, free_port
from headgate.backends import assemble
from headgate.children import Child
from headgate.choice import address_of, choose_backend
from headgate.instance import Instance
from headgate.settings import BackendName, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from headgate.choice import Choice
    from headgate.settings import Settings

_log = structlog.get_logger("headgate.supervisor")
_STATE_SECONDS = 1.0
_WEB_START_SECONDS = 30.0


def listen(host: str, port: int) -> socket.socket:
    """Bind the listening socket that every worker accepts from; raises SettingsError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another with --port or HEADGATE_PORT"
        ) from None
    listening.listen(2048)
    listening.set_inheritable(True)
    return listening


class Supervisor:
    """One server's processes. `run` returns when it was told to stop and everything has ended."""

    def __init__(self, settings: Settings, *, with_prefect: bool, announce: Callable[[str], None]) -> None:
        self._settings = settings
        self._with_prefect = with_prefect
        self._announce = announce
        self._children: list[Child] = []
        self._prefect: PrefectServer | None = None
        self._runtime = ""

    async def run(self) -> None:
        """Start, keep, stop; raises SettingsError if it cannot start."""
        settings = self._settings
        settings.check_binding(settings.host)
        choice = choose_backend(settings)
        assemble(settings, HttpUpstream())  # so that a wrong route is told here and now
        _log.info("backend chosen", backend=choice.backend, because=choice.why, others=choice.others)
        listening = listen(settings.host, settings.port)
        self._runtime = tempfile.mkdtemp(prefix="headgate-")
        stop = self._stop_on_signals()
        try:
            instance = await self._start_web(listening, choice)
            address = await self._await_web(listening)
            self._announce(banner(settings, choice, instance, address))
            await self._start_rest(instance)
            keeping = asyncio.create_task(self._write_states(instance))
            recording = asyncio.create_task(self._keep_prefect(instance))
            await stop.wait()
            keeping.cancel()
            recording.cancel()
            self._announce("Stopping: open streams have a moment to end (Ctrl-C again to stop at once).")
        finally:
            await self._stop()
            listening.close()
            shutil.rmtree(self._runtime, ignore_errors=True)

    def _stop_on_signals(self) -> asyncio.Event:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def asked() -> None:
            if stop.is_set():
                for child in self._children:
                    child.kill()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked)
        return stop

    async def _start_web(self, listening: socket.socket, choice: Choice) -> Instance:
        """Start what answers requests, and nothing beside it: the others take seconds of CPU to start."""
        settings = self._settings
        demo_url = await self._start_demo() if choice.backend == BackendName.DEMO else None
        api_url, ui_url, runs = settings.prefect_api_url, None, settings.runs
        if api_url is not None:
            ui_url = api_url.removesuffix("/api")
        elif self._with_prefect and runs != "off":
            self._prefect = PrefectServer(settings.data_dir, port=settings.prefect_port)
            self._prefect.choose_port()
            api_url, ui_url = self._prefect.url, self._prefect.ui_url
        else:
            runs = "off"
        instance = Instance(
            id=secrets.token_hex(4), runtime_dir=self._runtime, backend=choice.backend, why=choice.why,
            demo_url=demo_url, prefect_api_url=api_url, prefect_ui_url=ui_url, runs=runs,
        )  # fmt: skip
        env = self._web_environment(instance)
        for number in range(settings.workers):
            name = "web" if settings.workers == 1 else f"web-{number}"
            fd = listening.fileno()
            await self._keep(Child(name, _module("headgate.web", str(fd)), env=env, fds=[fd]))
        return instance

    async def _start_rest(self, instance: Instance) -> None:
        """Start the processes that requests can do without for a moment."""
        env = self._web_environment(instance)
        if self._prefect is not None:
            await self._prefect.start()
        if instance.runs == "express":
            api_url = self._prefect.url if self._prefect is not None else str(instance.prefect_api_url)
            argv = _module("express.recorder", "--socket", instance.recorder_socket, "--api", api_url)
            await self._keep(Child("recorder", argv, env=env))
        await self._keep(Child("maintenance", _module("headgate.maintenance"), env=env))
        await self._keep(
            Child("counter", _module("coordinators.counter_process", instance.counter_socket), env=env)
        )

    def _web_environment(self, instance: Instance) -> dict[str, str]:
        settings = self._settings
        home = settings.data_dir / "prefect"
        with contextlib.suppress(OSError):  # Prefect makes no parents, and warns in every process
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        given = {
            "HEADGATE_HOST": settings.host,
            "HEADGATE_PORT": str(settings.port),
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PYTHONUNBUFFERED": "1",
        }
        if instance.prefect_api_url:
            given["PREFECT_API_URL"] = instance.prefect_api_url
        return {**os.environ, **given, **instance.to_environment()}

    async def _start_demo(self) -> str:
        port = free_port("127.0.0.1", 0)
        child = Child(
            "demo", _module("coordinators.demo", "--port", str(port), "--parent-pipe"), env=os.environ
        )
        self._children.append(child)
        line = await child.start_and_read_line(15)
        if not line:
            raise SettingsError("the demo backend did not start")
        return line.decode().strip()

    async def _keep(self, child: Child) -> None:
        self._children.append(child)
        await child.start()

    async def _await_web(self, listening: socket.socket) -> tuple[str, int]:
        """Wait until a web process answers `/health`."""
        host, port = listening.getsockname()[:2]
        at = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        async with asyncio.timeout(_WEB_START_SECONDS):
            # The socket listens already, so the connection waits in its queue until a worker accepts.
            reader, writer = await asyncio.open_connection(at, port)
            writer.write(b"GET /health HTTP/1.1\r\nhost: headgate\r\nconnection: close\r\n\r\n")
            await reader.read()
            writer.close()
        return at, port

    async def _keep_prefect(self, instance: Instance) -> None:
        """Say when the Prefect server is up, and start it again when it ends by itself."""
        prefect = self._prefect
        if prefect is None:
            return
        pause = 1.0
        while True:
            if await prefect.ready():
                self._announce(f"Prefect UI is up: {instance.prefect_ui_url}")
                pause = 1.0
            else:
                self._announce(
                    f"Prefect is not up; requests are answered all the same. See {prefect.log_path}"
                )
            await prefect.wait()
            _log.error("process ended, starting it again", process="prefect", pause=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 60.0)
            await prefect.start()

    async def _write_states(self, instance: Instance) -> None:
        """Write every child's state where the web processes find it."""
        while True:
            states: dict[str, Any] = {child.name: child.state for child in self._children}
            if self._prefect is not None:
                running = self._prefect.running
                states["prefect"] = {"state": "running" if running else "stopped", "pid": self._prefect.pid}
            partial = instance.state_file.with_suffix(".partial")
            with contextlib.suppress(OSError):
                partial.write_bytes(orjson.dumps(states))
                partial.replace(instance.state_file)
            await asyncio.sleep(_STATE_SECONDS)

    async def _stop(self) -> None:
        """Web first, so that it can still record; then the recorder, so that it can still write."""
        order = {"web": 0, "recorder": 1}
        groups: dict[int, list[Child]] = {}
        for child in self._children:
            groups.setdefault(order.get(child.name.split("-")[0], 2), []).append(child)
        for _, group in sorted(groups.items()):
            await asyncio.gather(*(child.stop(self._settings.grace_seconds + 5) for child in group))
        if self._prefect is not None:
            await self._prefect.stop()


def _module(name: str, *args: str) -> list[str]:
    return [sys.executable, "-m", name, *args]


def base_url(host: str, port: int) -> str:
    """Give the address that clients use."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def banner(settings: Settings, choice: Choice, instance: Instance, address: tuple[str, int]) -> str:
    """Say what is served, where, and how to point Claude Code at it."""
    url = base_url(*address)
    if choice.backend == BackendName.DEMO:
        serves = (
            f"demo answers ({choice.why})\n"
            "            Set OPENROUTER_API_KEY, in the environment or in .env, for real ones."
        )
    else:
        serves = f"{choice.backend} ({choice.why}) at {address_of(settings, choice.backend)}"
    if choice.others:
        prefixes = ", ".join(f"{name.prefix}:" for name in choice.others)
        serves += f"\n            Names that begin with {prefixes} go there."
    if instance.prefect_ui_url:
        prefect = f"{instance.prefect_ui_url} (coming up)" if instance.runs != "off" else "off"
    else:
        prefect = "off: requests are not recorded"
    token = "<one of HEADGATE_API_KEYS>" if settings.api_keys else "headgate"
    return (
        f"Headgate    {url}\n"
        f"Serves      {serves}\n"
        f"Prefect UI  {prefect}\n"
        f"Data        {Path(settings.data_dir)}\n\n"
        "Point Claude Code here:\n"
        f"  export ANTHROPIC_BASE_URL={url}\n"
        f"  export ANTHROPIC_AUTH_TOKEN={token}\n"
    )
