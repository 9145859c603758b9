"""Runs a captured request again: finds a Prefect server, assembles the backends, and tells both answers.

The Prefect server is that of PREFECT_API_URL, else that of the gateway which runs here; without either, one
is started for this run alone. It imports Prefect, through the flows: seconds.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import structlog

from coordinators.prefect_links import run_link
from coordinators.prefect_server import PrefectServer
from coordinators.scrubbing import without_password
from headgate.children import Child
from headgate.settings import BackendName, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from uuid import UUID

    from coordinators.captures import Captured, Content
    from coordinators.replaying import Replayer
    from headgate.settings import Settings
    from tasks.exchange import Exchange
    from wire.messages import Json

_log = structlog.get_logger("headgate.replay")

_ANSWER_SECONDS = 20.0  # a busy Prefect server on SQLite takes as long; one that is gone refuses at once
_STOP_SECONDS = 3.0
_TEMPORARY_PORT = 4250
_DEMO_SECONDS = 120.0  # a loaded machine may take long to import it


@dataclass(frozen=True, slots=True)
class Where:
    """The Prefect server that records the run: its API's address, its UI's if it stays, and whose it is."""

    api_url: str
    ui_url: str | None
    whose: str


@asynccontextmanager
async def prefect_server(settings: Settings, tell: Callable[[str], None]) -> AsyncIterator[Where]:
    """Give the server to run under; `tell` is told when one must be started first.

    Raises SettingsError if PREFECT_API_URL names one that does not answer.
    """
    named = settings.prefect_api_url
    if named is not None:
        if not await asyncio.to_thread(_answers, f"{named.rstrip('/')}/health", _prefect_headers()):
            raise SettingsError(
                f"PREFECT_API_URL: no Prefect server answers at {without_password(named)}; "
                "start it, or unset it"
            )
        yield Where(named, without_password(named).rstrip("/").removesuffix("/api"), "PREFECT_API_URL")
        return
    ui_url = await asyncio.to_thread(_ui_of_gateway, settings.local_url)
    if ui_url is not None:
        yield Where(f"{ui_url}/api", ui_url, f"the gateway at {settings.local_url}")
        return
    tell(
        f"No gateway with a Prefect server answers at {settings.local_url}: starting a Prefect server for "
        "this run alone. `headgate serve`, or PREFECT_API_URL, keeps the run to look at."
    )
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="headgate-replay-")
    server = PrefectServer(Path(folder), port=_TEMPORARY_PORT)
    try:
        await server.start()
        if not await server.ready(within=120):
            raise SettingsError("the Prefect server for this run did not start; see `headgate doctor`")
        yield Where(server.url, None, "a Prefect server for this run alone")
    finally:
        await server.stop()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _prefect_headers() -> dict[str, str]:
    key = os.environ.get("PREFECT_API_KEY")
    return {"authorization": f"Bearer {key}"} if key else {}


def _answers(url: str, headers: dict[str, str] | None = None) -> bool:
    try:
        return httpx.get(url, headers=headers, timeout=_ANSWER_SECONDS, trust_env=False).status_code == 200
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def _ui_of_gateway(url: str) -> str | None:
    """Ask the gateway for its Prefect server; None if there is none, or it does not answer."""
    try:
        told = httpx.get(f"{url}/", timeout=_ANSWER_SECONDS, trust_env=False).json()
        ui_url = told["links"]["prefect_ui"] if told["name"] == "headgate" else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError):
        return None
    return ui_url if isinstance(ui_url, str) and _answers(f"{ui_url}/api/health") else None


@asynccontextmanager
async def _demo(backend: BackendName) -> AsyncIterator[str | None]:
    """Give the address of a demo backend, started for this, where no other is configured."""
    if backend != BackendName.DEMO:
        yield None
        return
    argv = [sys.executable, "-m", "coordinators.demo", "--port", "0", "--parent-pipe"]
    child = Child("demo", argv, env=os.environ)
    try:
        line = await child.start_and_read_line(_DEMO_SECONDS)
        if not line:
            raise SettingsError("the demo backend did not start")
        yield line.decode().strip()
    finally:
        await child.stop(_STOP_SECONDS)


class LocalCounter:
    """Counts tokens in this process (`tasks.count.TokenCounter`), which loads LiteLLM for it: seconds."""

    async def count(self, body: Json, model: str) -> int:
        """Give the request's input tokens."""
        from coordinators.counter_process import count, load_token_counter  # noqa: PLC0415 - see above

        return await asyncio.to_thread(lambda: count(body, model, load_token_counter()))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be run again, and where it is to go if not where it went."""

    captured: Captured
    content: Content
    backend: str | None = None
    model: str | None = None


async def replay(settings: Settings, wanted: Wanted, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run it again; give how it went: `coordinators.replaying.Again`, its steps, and where to look at it.

    `tell` is told what takes its time. Raises NotReplayable, SettingsError.
    """
    from headgate.choice import choose_backend  # noqa: PLC0415 - what can be refused comes first

    choice = choose_backend(settings)
    home = await asyncio.to_thread(tempfile.mkdtemp, prefix="headgate-prefect-")
    try:
        async with _demo(choice.backend) as demo_url:
            return await _run(settings, wanted, home, demo_url, tell)
    finally:
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


async def _run(
    settings: Settings, wanted: Wanted, home: str, demo_url: str | None, tell: Callable[[str], None]
) -> dict[str, Any]:
    # Prefect reads them as it is imported. Its logs could quote what an error choked on: none are sent.
    os.environ["PREFECT_HOME"] = home
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    from coordinators.litellm_calls import LiteLLM  # noqa: PLC0415 - see above
    from coordinators.prices import Prices  # noqa: PLC0415 - see above
    from coordinators.replaying import Replayer as Made  # noqa: PLC0415 - see above
    from flows.attempts import Patience  # noqa: PLC0415 - see above
    from headgate.backends import assemble, assemble_http, assemble_universal  # noqa: PLC0415 - see above
    from headgate.house import assemble_house  # noqa: PLC0415 - see above
    from headgate.parameters import load_presets  # noqa: PLC0415 - see above

    http, prices = assemble_http(settings), Prices()
    try:
        await prices.load()
        library = LiteLLM(http)
        replayer = Made(
            backends=assemble(settings, http, demo_url, library),
            universal=assemble_universal(settings, http, library),
            counter=LocalCounter(),
            prices=prices,
            patience=Patience(retries=settings.retries),
            house=assemble_house(settings, load_presets()),
        )
        exchange = replayer.aim(wanted.captured, wanted.content, wanted.backend, wanted.model)
        async with prefect_server(settings, tell) as where:
            return await _recorded(replayer, wanted.captured, exchange, where, tell)
    finally:
        await http.close()


async def _recorded(
    replayer: Replayer, captured: Captured, exchange: Exchange, where: Where, tell: Callable[[str], None]
) -> dict[str, Any]:
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - seconds

    from coordinators.replayed_run import recorded  # noqa: PLC0415 - likewise

    with temporary_settings({PREFECT_API_URL: where.api_url}):
        again = await replayer.run(captured, exchange)
        try:
            flow_run, steps = await recorded(again.run)
        except httpx.HTTPError as error:  # the answer is there all the same
            flow_run, steps = None, []
            _log.warning("the Prefect server refuses to tell of the run", because=str(error)[:200])
    if not steps:
        tell("The Prefect server did not say how long each step took.")
    return asdict(again) | {
        "id": exchange.id,
        "steps": steps,
        "link": _link(where.ui_url, again.run, flow_run),
        "prefect": where.whose,
    }


def _link(ui_url: str | None, name: str, flow_run: UUID | None) -> str | None:
    """Give where the run is shown: by its id, or found by its name."""
    if ui_url is None:
        return None
    return run_link(ui_url, name, str(flow_run) if flow_run else None)


def new_key() -> str:
    """Make a key for HEADGATE_CAPTURE_KEY."""
    return secrets.token_urlsafe(32)
