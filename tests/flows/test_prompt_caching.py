"""The upstream's prompt cache: what a turn sends begins with what the turn before sent."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
import pytest

import wire.body
from express import Run, pipeline
from flows.prepare import House, prepare
from tasks.backend import Route, Target
from tasks.exchange import Exchange
from tasks.validate import validate_request
from tests.fakes.long_session import MODEL, requests
from wire.billing import BILLING
from wire.body import parse_body
from wire.dialects import (
    ANTHROPIC,
    DATABRICKS,
    DATABRICKS_CLAUDE,
    LITELLM,
    OPENAI,
    OPENAI_PLATFORM,
    OPENROUTER,
)
from wire.interning import Interner
from wire.litellm_dialects import PROVIDER_DIALECTS

PLACES: dict[str, Any] = {
    "Anthropic": ("messages", ANTHROPIC),
    "OpenRouter, messages": ("messages", OPENROUTER),
    "Databricks, messages": ("messages", DATABRICKS_CLAUDE),
    **{
        one.name: ("chat", one)
        for one in (OPENROUTER, OPENAI, OPENAI_PLATFORM, DATABRICKS, DATABRICKS_CLAUDE)
    },
    "LiteLLM": ("chat", LITELLM),
    **{f"LiteLLM, {one}": ("chat", dialect) for one, dialect in PROVIDER_DIALECTS.items()},
}
END = '"cache_control":"the end"'


class Prefix(NamedTuple):
    """What an upstream's cache sees of a request, up to its last breakpoint: JSON text, marks taken away."""

    tools: str
    system: str
    messages: str


def whole_of(sent: dict[str, Any], *, native: bool) -> Prefix:
    """Give all of what was sent.

    `native`, as Anthropic says: a string is short for one text block, and deferred tools are no part of what
    is cached. Nor is Claude Code's billing line, which Anthropic's servers know: to others it may not go.
    """
    tools = [one for one in sent.get("tools", ()) if not (native and one.get("defer_loading"))]
    messages = [in_blocks(one) for one in sent["messages"]] if native else sent["messages"]
    rules = [one for one in sent.get("system") or () if not one["text"].startswith(BILLING)]
    return Prefix(*(written(unmarked(one)) for one in (tools, rules, messages)))


def prefix_of(sent: dict[str, Any], kept: dict[str, Any], *, native: bool) -> Prefix:
    """Give what was sent up to its last breakpoint.

    If none is left it ends where `kept` does: the same request with nothing behind the client's last one.
    """
    whole = whole_of(sent, native=native)
    messages = [in_blocks(one) for one in sent["messages"]] if native else sent["messages"]
    marked = [part for one in messages for part in parts(one) if "cache_control" in part]
    if marked:
        messages, _, _ = written(unmarked(messages, but=marked[-1])).partition(f",{END}")
    else:
        messages = whole_of(kept, native=native).messages.rstrip('"}]')
    return Prefix(whole.tools[:-1], whole.system, messages)


def in_blocks(message: dict[str, Any]) -> dict[str, Any]:
    said = message["content"]
    return message | {"content": [{"type": "text", "text": said}] if isinstance(said, str) else said}


def written(value: Any) -> str:
    return orjson.dumps(value).decode()


def parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message["content"] if isinstance(message["content"], list) else []


def unmarked(value: Any, but: Any = None) -> Any:
    if isinstance(value, list):
        return [unmarked(one, but) for one in value]
    if isinstance(value, dict):
        kept = {key: unmarked(one, but) for key, one in value.items() if key != "cache_control"}
        return kept | {"cache_control": "the end"} if value is but else kept
    return value


@pipeline(name="sent")
async def sent_by(exchange: Any, route: Any, house: Any) -> Any:
    return prepare(validate_request(exchange), route, exchange, house).payload


async def sent_of(body: dict[str, Any], place: str, house: House) -> dict[str, Any]:
    raw = orjson.dumps(body)
    wire_name, dialect = PLACES[place]
    exchange = Exchange("req", {}, raw, parse_body(raw))
    route = Route(Target("asked", MODEL, wire_name, "KEY", "there", dialect), backend=None)
    payload = await Run("sent", name="sent").call(sent_by, exchange, route, house)
    assert exchange.body == body, "messages that requests share were changed"
    assert (BILLING.encode() in payload) == (dialect is ANTHROPIC)
    return orjson.loads(payload)


def until_breakpoint(body: dict[str, Any]) -> dict[str, Any]:
    """Give the request without what comes and goes behind its last breakpoint."""
    return body | {"messages": [one for one in body["messages"] if "clear_at" not in one]}


@pytest.fixture(params=["fresh", "warm"])
def interner(request, monkeypatch):
    """Renew the interner with every request, or keep one for the session."""
    monkeypatch.setattr(wire.body, "_shared", Interner())

    def renew() -> None:
        if request.param == "fresh":
            monkeypatch.setattr(wire.body, "_shared", Interner())

    return renew


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("auto", [False, True])
async def test_each_turn_begins_with_the_last(place, auto, interner):
    native = PLACES[place][0] == "messages"
    house = House(prompt_cache=auto) if auto else House()
    before: Prefix | None = None
    broken = []
    for turn, body in enumerate(requests(marked=not auto)):
        interner()
        sent = await sent_of(body, place, house)
        kept = await sent_of(until_breakpoint(body), place, house)
        whole = whole_of(sent, native=native)
        if before is not None:
            broken += [
                f"turn {turn}: {part}"
                for part, was, now in zip(Prefix._fields, before, whole, strict=True)
                if not now.startswith(was)
            ]
        before = prefix_of(sent, kept, native=native)
    assert broken == []
