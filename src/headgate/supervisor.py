"""`headgate serve`: starts the processes of one server, keeps them running, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from coordinators.http_upstream import HttpUpstream
from coordinators.prefect_server import PrefectServer, free_port
from coordinators.scrubbing import without_password
from express.recorder.heirs import Life
from headgate.backends import assemble
from headgate.children import Child
from headgate.choice import address_of, choose_backend
from headgate.instance import Instance
from headgate.recording import (
    make_folder,
    scrubber_of,
    start_recording,
    watch_loop,
    watch_process,
)
from headgate.runtime_folder import RuntimeFolder, delete_old_folders
from headgate.settings import BackendName, SettingsError
from headgate.usage_parts import check_binding, keys_marker

if TYPE_CHECKING:
    from collections.abc import Callable

    from headgate.choice import Choice
    from headgate.recording import Recording
    from headgate.settings import Settings

_log = structlog.get_logger("headgate.supervisor")
_STATE_SECONDS = 1.0
_START_SECONDS = 120.0  # a loaded machine may take long to import it all
_AGAIN_SECONDS = 0.2
_NEED_PREFECT = {"recorder", "batches", "maintenance"}


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


class ChildEnded(OSError):
    """A process of ours ended by itself."""

    def __init__(self, said: str) -> None:
        super().__init__(0, said)


class Supervisor:
    """One server's processes. `run` returns when it was told to stop and everything has ended."""

    def __init__(self, settings: Settings, *, with_prefect: bool, announce: Callable[[str], None]) -> None:
        self._settings = settings
        self._with_prefect = with_prefect
        self._announce = announce
        self._children: list[Child] = []
        self._prefect: PrefectServer | None = None
        self._prefect_restarts = 0
        self._runtime = ""
        self._recording: Recording | None = None
        self._life: Life | None = None

    async def run(self) -> None:
        """Start, keep, stop; raises SettingsError if it cannot start."""
        settings = self._settings
        await check_binding(settings)
        if settings.work_pool is not None:
            from headgate.worker import check_pool  # noqa: PLC0415 - loads the database's library

            check_pool(settings, settings.work_pool)
        choice = choose_backend(settings)
        assemble(settings, HttpUpstream())  # so that a wrong route is told here and now
        _log.info("backend chosen", backend=choice.backend, because=choice.why, others=choice.others)
        listening = listen(settings.host, settings.port)
        delete_old_folders()
        runtime = RuntimeFolder()
        self._runtime = runtime.path
        stop = self._stop_on_signals()
        try:
            running = asyncio.create_task(self._start_and_keep(listening, choice))
            told = asyncio.create_task(stop.wait())
            await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if running.done():
                await running  # it only ends by what it raises
            self._announce("Stopping: open streams have a moment to end (Ctrl-C again to stop at once).")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        finally:
            await self._stop()
            listening.close()
            runtime.delete()
            if self._life is not None:
                self._life.end(for_good=True)
            if self._recording is not None:
                self._recording.close()
                self._recording.folder.release()

    async def _start_and_keep(self, listening: socket.socket, choice: Choice) -> None:
        """Start everything, and look after it until cancelled."""
        instance = await self._start_web(listening, choice)
        address = await self._await_web(listening)
        self._announce(banner(self._settings, choice, instance, address))
        await self._start_rest(instance)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_states(instance))
            tasks.create_task(self._keep_prefect(instance))

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
        api_url, ui_url, runs, mark = settings.prefect_api_url, None, settings.runs, None
        if api_url is not None:
            ui_url = without_password(api_url).rstrip("/").removesuffix("/api")
        elif self._with_prefect and runs != "off":
            self._prefect = PrefectServer(settings.data_dir, port=settings.prefect_port)
            self._prefect.choose_port()
            api_url, ui_url, mark = self._prefect.url, self._prefect.ui_url, (*self._prefect.mark,)
        else:
            runs = "off"
        instance = Instance(
            id=secrets.token_hex(4), runtime_dir=self._runtime, backend=choice.backend, why=choice.why,
            demo_url=demo_url, prefect_api_url=api_url, prefect_ui_url=ui_url, prefect_mark=mark, runs=runs,
        )  # fmt: skip
        self._record(instance)
        env = self._web_environment(instance)
        for number in range(settings.workers):
            name = "web" if settings.workers == 1 else f"web-{number}"
            fd = listening.fileno()
            argv = _module("headgate.web", str(fd))
            await self._keep(Child(name, argv, env=env, fds=[fd], ended=self._note_end))
        return instance

    def _record(self, instance: Instance) -> None:
        """Make the server's folder, and note what goes wrong in this process and with its children."""
        folder = make_folder(self._settings, instance, scrubber_of(self._settings))
        self._recording = recording = start_recording(self._settings, instance, "supervisor", folder)
        watch_process(recording.errors)
        watch_loop(asyncio.get_running_loop(), recording.errors)

    def _note_end(self, name: str, code: int) -> None:
        if self._recording is not None:
            try:
                raise ChildEnded(f"{name} ended with {code}")  # noqa: TRY301 - so that it has a place
            except ChildEnded as error:
                self._recording.errors.note(error, crashed=True, child=name, code=code)

    async def _start_rest(self, instance: Instance) -> None:
        """Start the processes that requests can do without for a moment."""
        env = self._web_environment(instance)
        if self._prefect is not None:
            await self._prefect.start()
        if instance.runs == "express":
            # The Prefect API's address goes by the environment: it may have a password.
            await self._keep_watched(self._recorder(instance), env)
        await self._keep_watched(["batches", "headgate.batches"], env)
        await self._keep_watched(["maintenance", "headgate.maintenance"], env)
        await self._keep_watched(["counter", "coordinators.counter_process", instance.counter_socket], env)

    def _recorder(self, instance: Instance) -> list[str]:
        """Say how the recorder is started. Its journal is where the next start of a server finds it."""
        journal = self._settings.data_dir.absolute() / "recorder" / f"{instance.id}.open"
        self._life = Life(journal)
        mark = ["--mark", "=".join(instance.prefect_mark)] if instance.prefect_mark else []
        return [
            "recorder", "express.recorder", "--socket", instance.recorder_socket, "--journal", str(journal),
            *mark,
        ]  # fmt: skip

    async def _keep_watched(self, argv: list[str], env: dict[str, str]) -> None:
        watched = _module("headgate.watched", *argv)
        await self._keep(Child(argv[0], watched, env=env, ended=self._note_end))

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
        line = await child.start_and_read_line(_START_SECONDS)
        if not line:
            raise SettingsError("the demo backend did not start")
        return line.decode().strip()

    async def _keep(self, child: Child) -> None:
        self._children.append(child)
        await child.start()

    async def _await_web(self, listening: socket.socket) -> tuple[str, int]:
        """Wait until a web process answers `/health`; raises SettingsError if none does."""
        host, port = listening.getsockname()[:2]
        at = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await _is_healthy(at, port):  # noqa: ASYNC110 - another process is waited for
                    await asyncio.sleep(_AGAIN_SECONDS)
        except TimeoutError:
            raise SettingsError(
                f"the web process does not answer after {_START_SECONDS:.0f} s; the log above says why"
            ) from None
        return at, port

    async def _keep_prefect(self, instance: Instance) -> None:
        """Say when the Prefect server is up, and start it again when it ends by itself."""
        prefect = self._prefect
        if prefect is None:
            return
        pause = 1.0
        while True:
            late = False
            while not (up := await prefect.ready()):
                if not late:
                    self._announce(
                        f"Prefect is not up; requests are answered all the same. See {prefect.log_path}"
                    )
                late = True
                if not prefect.running:
                    break
            if up and prefect.url != instance.prefect_api_url:
                instance = self._move(instance, prefect)
            elif up:
                self._announce(f"Prefect UI is up: {instance.prefect_ui_url}")
                pause = 1.0
            await prefect.wait()
            _log.error("process ended, starting it again", process="prefect", pause=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 60.0)
            self._prefect_restarts += 1
            try:
                await prefect.start()
            except OSError as error:  # the next round tries again
                _log.error("process cannot be started", process="prefect", because=error.strerror)

    def _states(self) -> dict[str, Any]:
        """Give every child's state, the Prefect server's too, which is none of `Child`'s."""
        states: dict[str, Any] = {child.name: child.state for child in self._children}
        if self._prefect is not None:
            states["prefect"] = {
                "state": "running" if self._prefect.running else "stopped",
                "pid": self._prefect.pid,
                "restarts": self._prefect_restarts,
                "ui_url": self._prefect.ui_url,
            }
        return states

    def _move(self, instance: Instance, prefect: PrefectServer) -> Instance:
        """Lead those who need Prefect to its new address; not the web processes, which have requests open."""
        moved = replace(instance, prefect_api_url=prefect.url, prefect_ui_url=prefect.ui_url)
        _log.error(
            "somebody took the port of Prefect: it has moved, and links to it hold after a new start",
            from_url=instance.prefect_ui_url, to_url=prefect.ui_url,
        )  # fmt: skip
        self._announce(f"Prefect UI is up, elsewhere: {prefect.ui_url}")
        for child in self._children:
            if child.name in _NEED_PREFECT:
                child.start_again(self._web_environment(moved))
        return moved

    async def _write_states(self, instance: Instance) -> None:
        """Write every child's state where the web processes find it."""
        while True:
            partial = instance.state_file.with_suffix(".partial")
            with contextlib.suppress(OSError):
                partial.write_bytes(orjson.dumps(self._states()))
                partial.replace(instance.state_file)
            await asyncio.sleep(_STATE_SECONDS)

    async def _stop(self) -> None:
        """Web first, so that it can still record; then the recorder, so that it can still write."""
        order = {"web": 0, "recorder": 1}
        groups: dict[int, list[Child]] = {}
        for child in self._children:
            groups.setdefault(order.get(child.name.split("-")[0], 2), []).append(child)
        seconds = self._settings.drain_seconds + self._settings.grace_seconds + 5
        for _, group in sorted(groups.items()):
            await asyncio.gather(*(child.stop(seconds) for child in group))
        if self._prefect is not None:
            await self._prefect.stop()


async def _is_healthy(host: str, port: int) -> bool:
    """Ask for `/health`. The socket listens already, so the connection waits until a worker accepts it."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
        with contextlib.closing(writer):
            writer.write(b"GET /health HTTP/1.1\r\nhost: headgate\r\nconnection: close\r\n\r\n")
            told = await reader.read()
    except OSError:  # it ended in the midst of it
        return False
    return told.startswith(b"HTTP/1.1 200")


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
    keyed = settings.api_keys or keys_marker(settings).exists()
    token = "<a client key>" if keyed else "headgate"
    return (
        f"Headgate    {url}\n"
        f"Serves      {serves}\n"
        f"Prefect UI  {prefect}\n"
        f"Data        {Path(settings.data_dir)}\n\n"
        "Point Claude Code here:\n"
        f"  export ANTHROPIC_BASE_URL={url}\n"
        f"  export ANTHROPIC_AUTH_TOKEN={token}\n"
    )
