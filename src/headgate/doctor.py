"""`headgate doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from coordinators.http_upstream import HttpUpstream, Timeouts
from headgate.choice import choose_backend
from headgate.settings import BackendName, SettingsError
from tasks.backend import Reply
from wire.errors import GatewayError

if TYPE_CHECKING:
    from pathlib import Path

    from headgate.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: fine, or with what to do."""

    subject: str
    text: str
    bad: bool = False

    @property
    def mark(self) -> str:
        """Give `ok` or `!!`."""
        return "!!" if self.bad else "ok"


async def fetch(url: str, *, seconds: float, key: str | None = None) -> Reply:
    """Fetch a small document; a failure is status 0 with the reason as its body."""
    http = HttpUpstream(Timeouts(connect=seconds))
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        return await http.get(url, headers, seconds)
    except GatewayError as error:
        return Reply(0, {}, error.message.encode())
    finally:
        await http.close()


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything that `headgate serve` needs."""
    return [
        _packages(),
        *await _backend(settings),
        await _port(settings),
        _folder("data", settings.data_dir, "HEADGATE_DATA_DIR"),
        _folder("logs", settings.log_dir, "HEADGATE_LOG_DIR"),
        await _prefect(settings),
        _claude(),
    ]


def _packages() -> Finding:
    names = ("prefect", "fastapi", "uvicorn", "litellm", "aiohttp")
    return Finding("packages", ", ".join(f"{name} {version(name)}" for name in names))


async def _backend(settings: Settings) -> list[Finding]:
    try:
        choice = choose_backend(settings)
        backend, why = choice.backend, choice.why
        settings.check_binding(settings.host)
    except SettingsError as error:
        return [Finding("backend", str(error), bad=True)]
    if backend == BackendName.DEMO:
        return [Finding("backend", f"demo: {why}. Set OPENROUTER_API_KEY for real answers")]
    key = settings.openrouter_api_key
    url = settings.openrouter_base_url.rstrip("/")
    reply = await fetch(f"{url}/key", seconds=10, key=key.get_secret_value() if key else None)
    if reply.status == 200:
        reached = Finding("upstream", f"{url} answers and takes OPENROUTER_API_KEY")
    elif reply.status in {401, 403}:
        reached = Finding("upstream", f"{url} refuses OPENROUTER_API_KEY: make a new one", bad=True)
    elif reply.status == 0:
        reached = Finding(
            "upstream", f"{reply.body.decode()}; check the network and OPENROUTER_BASE_URL", bad=True
        )
    else:
        reached = Finding(
            "upstream", f"{url}/key answers {reply.status}; check OPENROUTER_BASE_URL", bad=True
        )
    return [Finding("backend", f"{backend.value}: {why}"), reached]


async def _port(settings: Settings) -> Finding:
    where = f"{settings.host}:{settings.port}"
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host.strip("[]"), settings.port))
        except OSError as error:
            if b'"headgate"' in (await fetch(f"http://{where}/", seconds=3)).body:
                return Finding("port", f"Headgate is running on {where}")
            return Finding("port", f"{where}: {error.strerror}; choose another with HEADGATE_PORT", bad=True)
    return Finding("port", f"{where} is free")


def _folder(subject: str, path: Path, variable: str) -> Finding:
    nearest = path.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not os.access(nearest, os.W_OK):
        return Finding(subject, f"{path} cannot be written; set {variable}", bad=True)
    free = shutil.disk_usage(nearest).free // 2**20
    if free < 500:
        return Finding(subject, f"{path}: only {free} MB are free; set {variable} to another disk", bad=True)
    return Finding(subject, f"{path} ({free / 1024:.0f} GB free)")


async def _prefect(settings: Settings) -> Finding:
    url = settings.prefect_api_url
    if url is None:
        return Finding("prefect", f"embedded, data in {settings.data_dir / 'prefect'}")
    reply = await fetch(f"{url.rstrip('/')}/health", seconds=5)
    if reply.status == 200:
        return Finding("prefect", f"{url} answers")
    return Finding("prefect", f"PREFECT_API_URL={url} does not answer; start it, or unset it", bad=True)


def _claude() -> Finding:
    program = shutil.which("claude")
    if program is None:
        return Finding(
            "claude", "Claude Code is not installed (npm install -g @anthropic-ai/claude-code@latest)"
        )
    return Finding("claude", program)
