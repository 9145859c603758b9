"""What is measured: each target's process, the address and model its clients use, and its columns."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.bodies import CHAT_MODEL, CLIENT_KEY, MESSAGES_MODEL
from benchmarks.children import Child, Nursery, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.cells import Case

ROOT = Path(__file__).resolve().parent.parent
HEADGATE = Path(sys.executable).with_name("headgate")
_CHAT = "/api/v1/chat/completions"
_NATIVE = "/api/v1/messages"
_MESSAGES = "/v1/messages"


@dataclass(frozen=True, slots=True)
class Column:
    """One target on one wire to the upstream."""

    target: str
    wire: str
    path: str
    model: str
    only_streams: bool = False

    def takes(self, case: Case) -> bool:
        return case.stream or not self.only_streams

    @property
    def name(self) -> str:
        return f"{self.target}/{self.wire}"


@dataclass(frozen=True, slots=True)
class Target:
    """One program to measure."""

    name: str
    columns: tuple[Column, ...]
    start_seconds: float
    health: str = "/health"
    is_peer: bool = False
    of_backends: bool = False  # measured when asked for: `--backends`


def _columns(name: str, chat: str, messages: str | None, chat_model: str = CHAT_MODEL) -> tuple[Column, ...]:
    found = [Column(name, "chat", chat, chat_model)]
    if messages:
        found.append(Column(name, "messages", messages, MESSAGES_MODEL))
    return tuple(found)


DIRECT = Target("direct", _columns("direct", _CHAT, _NATIVE), 10, health="/count")
BARE = Target("bare", _columns("bare", _CHAT, _NATIVE), 10)
HEADGATE_ON = Target("headgate", _columns("headgate", _MESSAGES, _MESSAGES), 60)
HEADGATE_OFF = Target("headgate-off", _columns("headgate-off", _MESSAGES, _MESSAGES), 60)
LITELLM = Target(
    "litellm", _columns("litellm", _MESSAGES, None), 120, health="/health/liveliness", is_peer=True
)
_ROUTED = f"openrouter,{peers.MODEL}"
ROUTER = Target("router", _columns("router", _MESSAGES, None, _ROUTED), 30, is_peer=True)
ROUTER_QUIET = Target("router-quiet", _columns("router-quiet", _MESSAGES, None, _ROUTED), 30, is_peer=True)
# One Headgate for the backends without LiteLLM, one for those through it, so that its weight is on its own.
BACKENDS = Target(
    "backends",
    (
        Column("openrouter", "chat", _MESSAGES, f"openrouter:{CHAT_MODEL}"),
        Column("compatible", "chat", _MESSAGES, f"openai_compatible:{CHAT_MODEL}"),
        Column("openrouter", "messages", _MESSAGES, f"openrouter:{MESSAGES_MODEL}"),
        Column("databricks", "messages", _MESSAGES, f"databricks:{MESSAGES_MODEL}"),
        Column("anthropic", "messages", _MESSAGES, f"anthropic:{MESSAGES_MODEL}"),
    ),
    60,
    of_backends=True,
)
_UNIVERSAL = "/v1/universal/stream?output=anthropic"
BACKENDS_LITELLM = Target(
    "backends-litellm",
    (
        Column("litellm-openrouter", "chat", _MESSAGES, f"litellm:{CHAT_MODEL}"),
        Column("universal-our-reader", "chat", _UNIVERSAL, "openai/gpt-4o", only_streams=True),
        Column(
            "universal-its-reader", "messages", _UNIVERSAL, "anthropic/claude-sonnet-4-5", only_streams=True
        ),
    ),
    60,
    of_backends=True,
)
_ALL = (
    DIRECT,
    BARE,
    HEADGATE_ON,
    HEADGATE_OFF,
    LITELLM,
    ROUTER,
    ROUTER_QUIET,
    BACKENDS,
    BACKENDS_LITELLM,
)
TARGETS = {one.name: one for one in _ALL}


@dataclass(frozen=True, slots=True)
class Plan:
    """How to start one target: the command, what it finds in its environment, where it listens."""

    command: list[str]
    environment: Mapping[str, str]
    port: int
    folder: Path = ROOT  # where it runs: Headgate away from any `.env` of the developer's


def plan(target: Target, folder: Path, upstream_port: int) -> Plan:
    """Work out how to start a target, installing a peer if need be. `direct` is the upstream itself."""
    port = free_port()
    upstream = f"http://127.0.0.1:{upstream_port}"
    python = sys.executable
    match target.name:
        case "direct":
            return Plan([], {}, upstream_port)
        case "bare":
            return Plan([python, "-m", "benchmarks.bare", str(port), upstream], {}, port)
        case "litellm":
            return litellm_plan(folder, upstream, port)
        case "router" | "router-quiet" as name:
            home = peers.router_home(folder / name, upstream, port, quiet=name == "router-quiet")
            return Plan(["node", str(peers.router_program()), "start"], {"HOME": str(home)}, port)
        case name:
            return _headgate(
                folder / name,
                upstream,
                port,
                recording=name == "headgate",
                backends=target.of_backends,
            )


def litellm_plan(folder: Path, upstream: str, port: int, cache: dict[str, Any] | None = None) -> Plan:
    program = str(peers.litellm_program())
    config = str(peers.litellm_config(folder, upstream, cache))
    home = folder / "litellm-home"
    home.mkdir()
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": CLIENT_KEY,  # without one it refuses to start
        "HOME": str(home),
    }
    command = [program, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return Plan(command, environment, port)


def _headgate(folder: Path, upstream: str, port: int, *, recording: bool, backends: bool) -> Plan:
    folder.mkdir(exist_ok=True)
    environment = _elsewhere(upstream) if backends else {}
    environment |= {
        "PROXY_BACKEND": "OPENROUTER",
        "OPENROUTER_API_KEY": "sk-or-bench",
        "OPENROUTER_BASE_URL": f"{upstream}/api/v1",
        "OPENROUTER_WIRE": "auto",  # anthropic/* over /messages, all else over chat
        "HEADGATE_DATA_DIR": str(folder / "data"),
        "HEADGATE_LOG_DIR": str(folder / "logs"),
        "HEADGATE_CACHE": "off",  # every request must reach the upstream
        "HEADGATE_RUNS": "express" if recording else "off",
    }
    command = [str(HEADGATE), "serve", "--port", str(port)]
    if recording:
        environment["PREFECT_SERVER_API_PORT"] = str(free_port())
    else:
        command.append("--no-prefect")
    return Plan(command, environment, port, folder)


def _elsewhere(upstream: str) -> dict[str, str]:
    """Give the settings of the backends beside OpenRouter, all of them the same canned upstream."""
    return {
        "DATABRICKS_HOST": upstream,
        "DATABRICKS_TOKEN": "dapi-bench",
        "ANTHROPIC_API_KEY": "sk-ant-bench",
        "HEADGATE_ANTHROPIC_URL": upstream,
        "OPENAI_COMPATIBLE_BASE_URL": f"{upstream}/v1",
        "OPENAI_API_KEY": "sk-bench",
        "OPENAI_BASE_URL": f"{upstream}/v1",
    }


def start(target: Target, made: Plan, nursery: Nursery) -> Child:
    """Start a target, or point at the upstream for `direct`, which is already there."""
    if target.name == "direct":
        return nursery.children["upstream"]
    return nursery.start(
        target.name, made.command, environment=made.environment, port=made.port, cwd=made.folder
    )
