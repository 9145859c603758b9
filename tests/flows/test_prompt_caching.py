"""The upstream's prompt cache: what a turn sends begins with what the turn before sent."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
import pytest

import wire.body
from express import Run, pipeline
from flows.prepare import House, prepare
from tasks.add_breakpoints import may_add_breakpoints
from tasks.backend import Route, Target
from tasks.convert import convert_chat_request
from tasks.exchange import Exchange
from tasks.validate import validate_chat_request, validate_request
from tests.fakes.long_session import MODEL, requests
from wire.billing import BILLING
from wire.body import parse_body
from wire.breakpoints import BREAKPOINTS, LEAST_BYTES
from wire.chat_request import to_chat
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

pytestmark = pytest.mark.no_cover  # tracing takes twice its time, and others run the same lines

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
    rules = sent.get("system") or []
    if not isinstance(rules, str):
        rules = [one for one in rules if not one["text"].startswith(BILLING)]
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
    return message["content"] if isinstance(message.get("content"), list) else []


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


@pipeline(name="chat_sent")
async def chat_sent_by(exchange: Any, route: Any, house: Any) -> Any:
    return prepare(validate_chat_request(exchange), route, exchange, house, convert_chat_request).payload


async def sent_of(body: dict[str, Any], place: str, house: House, *, openai: bool = False) -> dict[str, Any]:
    raw = orjson.dumps(body)
    wire_name, dialect = PLACES[place]
    exchange = Exchange("req", {}, raw, parse_body(raw))
    route = Route(Target("asked", MODEL, wire_name, "KEY", "there", dialect), backend=None)
    payload = await Run("sent", name="sent").call(chat_sent_by if openai else sent_by, exchange, route, house)
    assert exchange.body == body, "messages that requests share were changed"
    assert (BILLING.encode() in payload) == (dialect is ANTHROPIC and not openai)
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


class Replay:
    """Takes what each turn sent, and notes whether it begins with what the turn before sent."""

    def __init__(self, *, native: bool) -> None:
        self.broken: list[str] = []
        self._native = native
        self._turn = 0
        self._before = Prefix("", "", "")

    def take(self, sent: dict[str, Any], kept: dict[str, Any]) -> None:
        whole = whole_of(sent, native=self._native)
        for part, was, now in zip(Prefix._fields, self._before, whole, strict=True):
            if not now.startswith(was):
                self.broken.append(f"turn {self._turn}: {part}")
        self._before = prefix_of(sent, kept, native=self._native)
        self._turn += 1


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("auto", [False, True])
async def test_each_turn_begins_with_the_last(place, auto, interner):
    wire_name, dialect = PLACES[place]
    replay = Replay(native=wire_name == "messages")
    kinds = set()
    for body in requests(marked=not auto):
        interner()
        sent = await sent_of(body, place, House(prompt_cache=auto))
        replay.take(sent, await sent_of(until_breakpoint(body), place, House(prompt_cache=auto)))
        assert len(marks(sent)) <= BREAKPOINTS
        assert bool(marks(sent)) == (wire_name == "messages" or dialect.cache_control)
        kinds |= {type(one["content"]) for one in sent["messages"] if one.get("content")}
    assert replay.broken == []
    if auto if wire_name == "messages" else dialect.cache_control:
        assert kinds == {list}


@pytest.mark.parametrize(
    "place", ["Anthropic", "OpenRouter", "LiteLLM", "OpenAI", "Databricks, Claude models"]
)
@pytest.mark.parametrize("auto", [False, True])
async def test_an_openai_client_s_too(place, auto, interner):
    wire_name, dialect = PLACES[place]
    replay = Replay(native=wire_name == "messages")
    for body in requests(marked=False):
        interner()
        chat, kept = (openai_body(one) for one in (body, until_breakpoint(body)))
        house = House(prompt_cache=auto)
        sent = await sent_of(chat, place, house, openai=True)
        replay.take(sent, await sent_of(kept, place, house, openai=True))
        assert len(marks(sent)) <= BREAKPOINTS
        assert bool(marks(sent)) == (auto and (wire_name == "messages" or dialect.cache_control))
    assert replay.broken == []


def openai_body(body: dict[str, Any]) -> dict[str, Any]:
    """Give a request as an OpenAI client would write it."""
    chat, _ = to_chat(body, model=MODEL)
    told = {name: chat[name] for name in ("model", "messages", "tools", "max_tokens", "stream")}
    return told | {"reasoning_effort": "high"}


def marks(sent: dict[str, Any]) -> list[dict[str, Any]]:
    """Give all that bears a breakpoint."""
    rules = [] if isinstance(sent.get("system"), str) else sent.get("system") or []
    blocks = [*sent.get("tools", ()), *rules, *(part for one in sent["messages"] for part in parts(one))]
    return [one for one in blocks if "cache_control" in one]


async def test_a_warm_interner_changes_nothing(monkeypatch):
    told = []
    for warm in (False, True):
        monkeypatch.setattr(wire.body, "_shared", Interner())
        payloads = []
        for body in requests(marked=True):
            if not warm:
                monkeypatch.setattr(wire.body, "_shared", Interner())
            payloads.append(await sent_of(body, "OpenRouter", House()))
        told.append(payloads)
    assert told[0] == told[1]


async def test_anthropic_gets_what_the_client_wrote():
    for body in requests(marked=True):
        for block in (block for message in body["messages"] for block in parts(message)):
            if block["type"] == "thinking":
                block["signature"] = "Anthropic's own"
        sent = await sent_of(body, "Anthropic", House(prompt_cache=True))
        assert sent == body


@pytest.mark.parametrize(
    ("place", "model", "size", "added"),
    [
        ("Anthropic", "claude-sonnet-4-5", LEAST_BYTES, True),
        ("Anthropic", "claude-sonnet-4-5", 0, False),
        ("OpenRouter", "anthropic/claude-sonnet-4", LEAST_BYTES, True),
        ("OpenRouter", "google/gemini-2.5-pro", LEAST_BYTES, False),
        ("OpenAI-compatible servers", "claude-proxied", LEAST_BYTES, False),
    ],
)
def test_breakpoints_are_added_where_that_pays(place, model, size, added):
    wire_name, dialect = PLACES[place]
    exchange = Exchange("req", {}, b" " * size)
    target = Target("asked", model, wire_name, "KEY", "there", dialect)
    assert may_add_breakpoints({"messages": []}, target, exchange) is added
    own = {"messages": [], "cache_control": {"type": "ephemeral"}}
    assert may_add_breakpoints(own, target, exchange) is False
