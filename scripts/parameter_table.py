"""Write docs/07-parameters.md: every parameter of the three APIs, and what becomes of it on each backend.

usage: parameter_table.py [PATH]

The fates are not told but tried: each parameter is sent, with a sample value, through the steps that a
request runs through, and what the backend would receive is compared with what it receives without.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import orjson
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_message_create_params
from openai.types.chat import completion_create_params

from tasks.backend import Route, Target
from tasks.convert import convert_request
from tasks.exchange import Exchange
from tasks.inject_parameters import inject_openai_parameters, inject_openrouter_parameters
from tasks.must_reason import MustReason
from wire.chat_request import FATES
from wire.check import check_request
from wire.dialects import (
    ANTHROPIC,
    DATABRICKS,
    DATABRICKS_CLAUDE,
    LITELLM,
    OPENAI,
    OPENAI_PLATFORM,
    OPENROUTER,
    Dialect,
)
from wire.errors import InvalidRequest
from wire.openai_request import FATES as OPENAI_FATES
from wire.parameters import NO_PRESETS, PARAMETERS
from wire.parameters import OPENAI as OPENAI_API
from wire.parameters import OPENROUTER as OPENROUTER_API

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tasks.backend import Wire
    from wire.parameters import Api, Parameter

PAGE = Path(__file__).parents[1] / "docs" / "07-parameters.md"
TEMPLATE = Path(__file__).with_name("parameters.md.in")

Fate: TypeAlias = Literal["sent", "converted", "left out", "refused"]


@dataclass(frozen=True, slots=True)
class Place:
    """A backend and wire that requests can go to, with a model it has."""

    title: str
    wire: Wire
    dialect: Dialect
    model: str = "anthropic/claude-sonnet-4"


PLACES = (
    Place("OpenRouter `/messages`", "messages", OPENROUTER),
    Place("OpenRouter chat", "chat", OPENROUTER),
    Place("Anthropic", "messages", ANTHROPIC, "claude-sonnet-4"),
    Place("Databricks `/messages`", "messages", DATABRICKS_CLAUDE, "databricks-claude-sonnet-4"),
    Place("Databricks chat, Claude", "chat", DATABRICKS_CLAUDE, "databricks-claude-sonnet-4"),
    Place("Databricks chat", "chat", DATABRICKS, "databricks-gpt-oss-120b"),
    Place("LiteLLM", "chat", LITELLM),
    Place("OpenAI-compatible", "chat", OPENAI, "llama-3"),
    Place("OpenAI", "chat", OPENAI_PLATFORM, "gpt-5"),
)
DIALECTS = tuple({place.dialect.name: place.dialect for place in PLACES if place.wire == "chat"}.values())
SAID = [{"role": "user", "content": "Hello"}]
PLAIN = {"model": "m", "max_tokens": 8192, "messages": SAID}
TOOL = {"name": "Read", "input_schema": {"type": "object"}}
SCHEMA = {"type": "object", "properties": {}}

SAMPLES: Mapping[str, Any] = {
    # Anthropic's
    "model": "n",
    "max_tokens": 4096,
    "messages": [*SAID, {"role": "assistant", "content": "Hi."}, *SAID],
    "system": "Be brief.",
    "stream": True,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u"},
    "service_tier": "standard_only",
    "thinking": {"type": "enabled", "budget_tokens": 2048},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
    "output_format": {"type": "json_schema", "schema": SCHEMA},
    "tools": [TOOL],
    "tool_choice": {"type": "any"},
    "cache_control": {"type": "ephemeral"},
    "context_management": {"edits": []},
    "safeguards": [{"type": "dangerous_tool_use"}],
    "diagnostics": {"previous_message_id": "msg_1"},
    "speed": "fast",
    "container": "container_1",
    "fallbacks": [{"model": "claude-opus-4-6"}],
    "fallback_credit_token": "t",
    "user_profile_id": "p",
    "workspace_id": "w",
    "mcp_servers": [{"type": "url", "name": "n", "url": "https://example.com"}],
    "inference_geo": "us",
    "billing_policy": {"bill_to": "other"},
    "compaction": {"type": "enabled"},
    "thread": {"id": "t"},
    # OpenRouter's
    "min_p": 0.1,
    "top_a": 0.1,
    "repetition_penalty": 1.1,
    "temperature_range": [0.2, 0.4],
    "provider": {"zdr": True},
    "transforms": ["middle-out"],
    "models": ["openai/gpt-5"],
    "route": "fallback",
    "plugins": [{"id": "web"}],
    "reasoning": {"effort": "low"},
    "session_id": "s",
    "trace": {"trace_id": "t"},
    "debug": {"echo_upstream_body": True},
    "deferred_tools": {"protocol": "v1"},
    "image_config": {"aspect_ratio": "1:1"},
    "include_reasoning": True,
    "stop_server_tools_when": [{"type": "step_count_is"}],
    "structured_outputs": True,
    # OpenAI's
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "seed": 7,
    "user": "u",
    "logit_bias": {"50256": -100},
    "reasoning_effort": "low",
    "verbosity": "low",
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "logprobs": True,
    "top_logprobs": 3,
    "modalities": ["text"],
    "prediction": {"type": "content", "content": "x"},
    "web_search_options": {"search_context_size": "low"},
}
BESIDE: Mapping[str, Mapping[str, Any]] = {
    "tool_choice": {"tools": [TOOL]},
    "temperature_range": {"temperature": 1},
}
"""What a sample needs beside it to mean anything."""


def received(body: dict[str, Any], place: Place) -> tuple[dict[str, Any], frozenset[str]]:
    """Give what the backend would receive for `body`, and the names of what the answer says was left out."""
    check_request(body)
    exchange = Exchange("req", {}, b"", body=body)
    target = Target("asked", place.model, place.wire, "KEY", place.title, place.dialect)
    route = Route(target, backend=None)
    body = inject_openrouter_parameters.fn(body, route, exchange, NO_PRESETS)
    body = inject_openai_parameters.fn(body, route, exchange, NO_PRESETS)
    payload = orjson.loads(convert_request.fn(body, route, exchange, None, MustReason()).payload)
    return payload, frozenset(name for names in exchange.left_out.values() for name in names)


def fate(name: str, place: Place) -> Fate:
    """Try what becomes of the parameter there."""
    plain = {**PLAIN, **BESIDE.get(name, {})}
    without, _ = received(plain, place)
    try:
        payload, left_out = received({**plain, name: SAMPLES[name]}, place)
    except InvalidRequest:
        return "refused"
    if name == "model":
        return "converted"  # on Databricks' chat wire it is in the address
    if name in left_out or payload == without:
        return "left out"
    return "sent" if payload.get(name) == SAMPLES[name] else "converted"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a Markdown table."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


PLACES_ON_OPENROUTER = PLACES[:2]
ANTHROPIC_FIELDS = tuple(name for name in FATES if name not in PARAMETERS or name == "top_k")
SDK_FIELDS = {
    "Anthropic": (
        message_create_params.MessageCreateParamsBase.__annotations__.keys()
        | beta_message_create_params.MessageCreateParamsBase.__annotations__.keys()
        | {"stream"}
    )
    - {"betas"},  # a header
    "OpenAI": completion_create_params.CompletionCreateParamsBase.__annotations__.keys() | {"stream"},
    "OpenRouter": frozenset(
        """
        cache_control debug deferred_tools frequency_penalty image_config logit_bias logprobs
        max_completion_tokens max_tokens messages metadata min_p modalities model models parallel_tool_calls
        plugins prediction presence_penalty prompt_cache_key prompt_cache_options provider reasoning
        reasoning_effort repetition_penalty response_format route seed service_tier session_id stop
        stop_server_tools_when stream stream_options structured_outputs temperature tool_choice tools top_a
        top_k top_logprobs top_p trace transforms user verbosity web_search_options
        context_management fallbacks output_config safeguards speed stop_sequences system thinking
        """.split()  # noqa: SIM905 - read as a list of words
    ),
}
"""Every field of the vendors' own types: Anthropic's and OpenAI's from their SDKs; OpenRouter's from its API
reference, chat completions and messages (November 2026), and the older ones of its parameters page."""

SHORT = {"sent": "sent", "converted": "conv.", "left out": "-", "refused": "ref."}


def cells(name: str) -> list[str]:
    """Try the parameter everywhere."""
    return [SHORT[fate(name, place)] for place in PLACES]


def anthropic_table() -> str:
    """Give Anthropic's own parameters, with what the chat wire makes of each."""
    head = ["parameter", *(place.title for place in PLACES), "on the chat wire"]
    return table(head, ([f"`{name}`", *cells(name), FATES[name]] for name in ANTHROPIC_FIELDS))


def values_table(api: Api) -> str:
    """Give what each parameter may be, and where it may come from beside the body."""
    rows = []
    for name, one in api.table.items():
        ways = [f"`{api.header}{name.replace('_', '-')}`", f"`{api.variable}{name.upper()}`"]
        rows.append([f"`{name}`", one.rule.says, *(ways if one.preset else ["", ""]), one.source])
    return table(["parameter", "may be", "header", "variable", "source"], rows)


def fates_table(api: Api) -> str:
    """Give what becomes of each parameter that a client writes."""
    head = ["parameter", *(place.title for place in PLACES), "where it is not taken"]
    return table(head, ([f"`{name}`", *cells(name), otherwise(one)] for name, one in api.table.items()))


def otherwise(parameter: Parameter) -> str:
    """Say what a parameter comes to where it is not taken."""
    if not parameter.promises:
        return parameter.otherwise
    return f"refused with {', '.join(f'`{field}`' for field in parameter.promises)}; else left out"


def openai_clients_table() -> str:
    """Give what becomes of OpenAI's own fields when an OpenAI client sends them."""
    rows = []
    for name, told in OPENAI_FATES.items():
        takers = [one.name for one in DIALECTS if name in one.takes]
        rows.append([f"`{name}`", told, "all" if len(takers) == len(DIALECTS) else ", ".join(takers)])
    return table(["field", "in an Anthropic request", "chat backends that take it as it is"], rows)


def is_handled(api: str, name: str) -> bool:
    """Tell whether some backend gets the parameter, or the client hears that none does."""
    if api == "OpenAI" or name not in SAMPLES:
        takers = any(name in one.takes for one in DIALECTS)
        return takers or not OPENAI_FATES[name].startswith("left out")
    places = PLACES if api == "Anthropic" else PLACES_ON_OPENROUTER
    return any(fate(name, place) != "left out" for place in places)


def has_fate(name: str) -> bool:
    """Tell whether the tables of the code say what becomes of the parameter."""
    return name in FATES or name in PARAMETERS or name in OPENAI_FATES


def coverage() -> dict[str, tuple[int, int, int]]:
    """Count, for each API: its parameters, those with a stated fate, those sent, converted or refused."""
    return {
        api: (
            len(fields),
            sum(map(has_fate, fields)),
            sum(has_fate(name) and is_handled(api, name) for name in fields),
        )
        for api, fields in SDK_FIELDS.items()
    }


def coverage_table() -> str:
    """Write the counts."""
    rows = (
        [api, str(known), f"{100 * stated / known:.0f} %", f"{100 * handled / known:.0f} %"]
        for api, (known, stated, handled) in coverage().items()
    )
    return table(["API", "parameters", "with a stated fate", "sent, converted or refused"], rows)


def page() -> str:
    """Give the whole page."""
    return TEMPLATE.read_text().format(
        coverage=coverage_table(),
        anthropic=anthropic_table(),
        openrouter_values=values_table(OPENROUTER_API),
        openrouter_fates=fates_table(OPENROUTER_API),
        openai_values=values_table(OPENAI_API),
        openai_fates=fates_table(OPENAI_API),
        openai_clients=openai_clients_table(),
    )


def main(path: str = "") -> None:
    """Write the page."""
    Path(path or PAGE).write_text(page())


if __name__ == "__main__":
    main(*sys.argv[1:])
