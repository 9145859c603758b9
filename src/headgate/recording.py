"""Assembly of what is written down: the server's folder, its error log and request log, the masks."""

from __future__ import annotations

import os
import re
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import structlog
from pydantic import SecretStr

from coordinators.error_log import ErrorLog
from coordinators.line_files import LineFile, Rotation
from coordinators.request_log import RequestLog
from coordinators.scrubbing import MASK, Scrubber
from coordinators.server_folder import ServerFolder
from headgate import __version__
from headgate.log_lines import others
from headgate.logs import echo
from headgate.provider_settings import provider_environment

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from headgate.instance import Instance
    from headgate.settings import Settings

_log = structlog.get_logger("headgate.logs")

_LONG = 12  # or a placeholder (`ANTHROPIC_AUTH_TOKEN=headgate`) would be masked wherever it stands
_WEIGHT = re.compile(r"\*\d{1,3}$")
_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
# Keys that settings do not name, but the backends read: the providers' own variables.
_SECRET_NAMES = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_API_KEYS")


def secrets_of(settings: Settings) -> Iterator[str]:
    """Give every secret that this process knows: the settings', and those of the environment by name.

    The providers' keys may be in `.env` only, where the environment does not have them. An address may have a
    password before its host.
    """
    named = {**provider_environment(), **os.environ}
    for value in (*settings.model_dump().values(), *named.values()):
        for one in value if isinstance(value, tuple) else (value,):
            text = one.get_secret_value() if isinstance(one, SecretStr) else one
            if isinstance(text, str):
                yield from _PASSWORD.findall(text)
            if isinstance(one, SecretStr):
                yield text
                yield from _pieces(text)
    for name, text in named.items():
        if name.endswith(_SECRET_NAMES):
            yield from (one for one in _pieces(text) if len(one) >= _LONG)


def _pieces(text: str) -> Iterator[str]:
    """Give the keys of a list of them, without their weights and the names of headers."""
    for one in text.replace(",", " ").split():
        yield one
        yield _WEIGHT.sub("", one)
        yield unquote(one.partition("=")[2])


def scrubber_of(settings: Settings) -> Scrubber:
    """Give what masks this process's secrets."""
    return Scrubber(secrets_of(settings))


def shown(settings: Settings, scrubber: Scrubber) -> dict[str, Any]:
    """Give the settings as they may be written down: by variable, secrets masked."""
    told: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            told[field.alias or name] = MASK
        elif isinstance(value, tuple) and any(isinstance(one, SecretStr) for one in value):
            told[field.alias or name] = f"{len(value)} keys"
        else:
            told[field.alias or name] = scrubber.value(_plain(value))
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: one.model_dump() if hasattr(one, "model_dump") else one for name, one in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class Recording:
    """What one process writes down with. `requests` is None where no request is noted."""

    folder: ServerFolder
    errors: ErrorLog
    requests: RequestLog | None
    files: tuple[LineFile, ...]

    @property
    def echoes(self) -> bool:
        """Whether the request log writes into the process's own log as well."""
        return self.requests is not None and self.requests.echoes

    def close(self) -> None:
        """Write what waits."""
        for file in self.files:
            file.close()

    def counts(self) -> dict[str, int]:
        """Give how many lines of each file were lost."""
        return {file.path.name: file.lost for file in self.files}


def make_folder(settings: Settings, instance: Instance, scrubber: Scrubber) -> ServerFolder:
    """Make the server's folder; where that fails it is logged, and the server goes on without."""
    folder = ServerFolder(settings.log_dir.absolute(), instance.id)
    try:
        folder.create(
            version=__version__,
            settings=shown(settings, scrubber),
            backend=instance.backend,
            prefect_ui_url=instance.prefect_ui_url,
            workers=settings.workers,
        )
    except OSError as error:
        _log.error("no log folder", folder=str(folder.path), because=error.strerror)
    return folder


def start_recording(
    settings: Settings, instance: Instance, process: str, folder: ServerFolder | None = None
) -> Recording:
    """Give what `process` writes with: into the server's folder, if there is one."""
    scrubber = scrubber_of(settings)
    folder = folder or ServerFolder(settings.log_dir.absolute(), instance.id)
    rotation = Rotation(settings.log_file_size, settings.log_file_hours * 3600, settings.log_files)
    there = folder.path.is_dir()
    errors = LineFile(folder.errors, rotation) if there else None
    requests = None
    if there and process == "web" and settings.request_log == "on":
        requests = LineFile(folder.requests, rotation)
    log = ErrorLog(errors, scrubber, ui_url=instance.prefect_ui_url, process=process)
    return Recording(
        folder,
        log,
        RequestLog(requests, scrubber, echo(settings.log_level)) if requests is not None else None,
        tuple(file for file in (errors, requests) if file is not None),
    )


def watch(loop: asyncio.AbstractEventLoop, errors: ErrorLog) -> None:
    """Note all that goes wrong in a process which answers no HTTP: uncaught, in its loop, or logged."""
    watch_process(errors)
    watch_logs(errors)
    watch_loop(loop, errors)


def watch_process(errors: ErrorLog) -> None:
    """Note what nobody catches in this process and its threads, and log it.

    Python's own traceback is not printed: it ends with the error's text, which may quote a prompt.
    """
    usual = sys.excepthook

    def note(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            usual(kind, error, trace)
            return
        known = errors.note(error.with_traceback(trace), crashed=True)
        _log.critical("nobody caught this", error_hash=known, exc_info=error)

    def note_in_thread(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None and not isinstance(told.exc_value, SystemExit):
            name = told.thread.name if told.thread is not None else None
            known = errors.note(told.exc_value, crashed=True, thread=name)
            _log.error("nobody caught this", thread=name, error_hash=known, exc_info=told.exc_value)

    sys.excepthook, threading.excepthook = note, note_in_thread


def watch_logs(errors: ErrorLog) -> None:
    """Note the exceptions that are logged from `error` on, by us and by libraries."""
    others.errors = errors


def watch_loop(loop: asyncio.AbstractEventLoop, errors: ErrorLog) -> None:
    """Note what nobody catches in the loop's tasks and callbacks, and log it.

    The loop's own line would show the callback's arguments, which may quote a prompt.
    """

    def note(_: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        error = told.get("exception")
        said = str(told.get("message", "")).partition("(")[0][:200]
        known = None
        if isinstance(error, BaseException):
            known = errors.note(error, crashed=True, said=said)
        _log.error("nobody caught this", said=said, error_hash=known, exc_info=error)

    loop.set_exception_handler(note)
