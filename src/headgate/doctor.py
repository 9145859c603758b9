"""`headgate doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from coordinators.http_backend import HttpBackend
from coordinators.http_upstream import HttpUpstream, Timeouts
from coordinators.scrubbing import without_password
from headgate.backends import assemble
from headgate.choice import choose_backend
from headgate.recording import secrets_of
from headgate.settings import BackendName, SettingsError
from headgate.usage_parts import check_binding
from tasks.backend import Reply
from wire.errors import GatewayError
from wire.upstream_errors import hide

if TYPE_CHECKING:
    from pathlib import Path

    from coordinators.lanes import BackendLanes
    from coordinators.routing import RoutingTable
    from headgate.settings import Settings

_SECONDS = 10.0
_ADDRESSES = {
    "openrouter": "OPENROUTER_BASE_URL",
    "litellm": "OPENROUTER_BASE_URL",
    "databricks": "DATABRICKS_HOST",
    "anthropic": "HEADGATE_ANTHROPIC_URL",
    "openai_compatible": "OPENAI_COMPATIBLE_BASE_URL",
}


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


async def fetch(url: str, *, seconds: float) -> Reply:
    """Fetch a small document; a failure is status 0 with the reason as its body."""
    http = HttpUpstream(Timeouts(connect=seconds))
    try:
        return await http.get(url, {}, seconds)
    except GatewayError as error:
        return Reply(0, {}, error.message.encode())
    finally:
        await http.close()


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything that `headgate serve` needs."""
    hide(secrets_of(settings))
    return [
        _packages(),
        *await _backends(settings),
        await _port(settings),
        _folder("data", settings.data_dir, "HEADGATE_DATA_DIR"),
        _folder("logs", settings.log_dir, "HEADGATE_LOG_DIR"),
        await _prefect(settings),
        _claude(),
    ]


def _packages() -> Finding:
    names = ("prefect", "fastapi", "uvicorn", "litellm", "aiohttp")
    return Finding("packages", ", ".join(f"{name} {version(name)}" for name in names))


async def _backends(settings: Settings) -> list[Finding]:
    http = HttpUpstream(Timeouts(connect=_SECONDS))
    try:
        choice = choose_backend(settings)
        await check_binding(settings)
        table = assemble(settings, http)
        chosen = Finding("backend", f"{choice.backend}: {choice.why}")
        if choice.backend == BackendName.DEMO:
            return [Finding("backend", f"demo: {choice.why}. Set OPENROUTER_API_KEY for real answers")]
        lanes = [one for one in table.backends.values() if not _twin(one, table)]
        reached = await asyncio.gather(*(_reach(one, number) for one in lanes for number in range(one.size)))
    except SettingsError as error:
        return [Finding("backend", str(error), bad=True)]
    finally:
        await http.close()
    return [chosen, *reached]


def _twin(lanes: BackendLanes, table: RoutingTable) -> bool:
    """Say whether this is LiteLLM's way to where we look anyhow, with the same keys."""
    return lanes.name == BackendName.LITELLM_OPENROUTER.prefix and (
        BackendName.OPENROUTER.prefix in table.backends
    )


async def _reach(lanes: BackendLanes, number: int) -> Finding:
    """Look whether a backend answers, and takes its key."""
    backend = lanes.backend(number)
    url, key = without_password(backend.base_url), backend.target("claude-sonnet-4").whose_key
    if lanes.size > 1:
        key = f"{key} ({number + 1} of {lanes.size})"
    where = _ADDRESSES.get(lanes.name, "its address")
    try:
        reply = await (backend.check_key if isinstance(backend, HttpBackend) else backend.list_models)(
            _SECONDS
        )
    except GatewayError as error:
        return Finding("upstream", f"{error.message}; check the network and {where}", bad=True)
    if reply.status == 200:
        return Finding("upstream", f"{url} answers and takes {key}")
    if reply.status in {401, 403}:
        return Finding("upstream", f"{url} refuses {key}: make a new one", bad=True)
    return Finding("upstream", f"{url} answers {reply.status}; check {where}", bad=True)


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
        return Finding("prefect", f"{without_password(url)} answers")
    told = f"PREFECT_API_URL={without_password(url)} does not answer; start it, or unset it"
    return Finding("prefect", told, bad=True)


def _claude() -> Finding:
    program = shutil.which("claude")
    if program is None:
        return Finding(
            "claude", "Claude Code is not installed (npm install -g @anthropic-ai/claude-code@latest)"
        )
    return Finding("claude", program)
