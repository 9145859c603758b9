"""How `headgate captures` and `headgate replay` draw what was kept and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from rich.table import Table
from rich.text import Text

from headgate.shown import plain, size
from wire.sse import frames_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from coordinators.captures import Captured

Row = dict[str, Any]

SIDE_BY_SIDE = 90
"""Columns of a terminal below which the two answers are shown one below the other."""

_LONGEST = 4000
_COUNTS = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    "reasoning_tokens", "cost_usd", "stop_reason", "attempts",
)  # fmt: skip


def captures_table(captured: Iterable[Captured]) -> Table:
    """Draw one row for each captured request."""
    table = Table(box=None, pad_edge=False)
    for name in ("time (UTC)", "request", "flow", "model", "backend", "status", "size", "kept"):
        whole = name in {"time (UTC)", "request", "status", "size"}
        table.add_column(name, no_wrap=whole, overflow="fold", justify="right" if name == "size" else "left")
    for one in captured:
        facts = one.facts
        table.add_row(
            str(facts.get("time"))[:19].replace("T", " "), plain(one.id), plain(facts.get("flow")),
            plain(facts.get("model") or ""), plain(facts.get("backend") or "-"), str(facts.get("status")),
            size(one.size), "encrypted" if one.encrypted else "redacted",
        )  # fmt: skip
    return table


def comparison(first: Row, again: Row, width: int) -> Iterator[RenderableType]:
    """Draw how the request went then and now: side by side if the terminal is wide enough.

    Both have `status`, `backend`, `model`, `ms`, `ttft_ms`, `summary`, `steps`, `answer` (text) and `error`.
    """
    rows = list(_rows(first, again))
    if width < SIDE_BY_SIDE:
        for place, title in enumerate(("First", "Again"), 1):
            table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
            table.add_column(no_wrap=True)
            table.add_column(overflow="fold")
            for row in rows:
                table.add_row(row[0], plain(row[place]))
            yield table
            yield from (Text(""), _answer(first if place == 1 else again), Text(""))
        return
    table = Table()
    table.add_column("")
    table.add_column("first", overflow="fold", ratio=1)
    table.add_column("again, under Prefect's engine", overflow="fold", ratio=1)
    for name, then, now in rows:
        table.add_row(name, plain(then), plain(now))
    table.add_section()
    table.add_row("answer", _answer(first), _answer(again))
    yield table


def _rows(first: Row, again: Row) -> Iterator[tuple[str, str, str]]:
    for name, title in (("status", "status"), ("backend", "backend"), ("model", "model")):
        yield title, _told(first.get(name)), _told(again.get(name))
    yield "whole", _ms(first.get("ms")), _ms(again.get("ms"))
    if first.get("ttft_ms") is not None or again.get("ttft_ms") is not None:
        yield "first byte", _ms(first.get("ttft_ms")), _ms(again.get("ttft_ms"))
    then, now = dict(first["steps"]), dict(again["steps"])
    for name in (*then, *(name for name in now if name not in then)):
        yield f"  {name.removesuffix('-0')}", _ms(then.get(name)), _ms(now.get(name))
    for name in _COUNTS:
        before, after = first["summary"].get(name), again["summary"].get(name)
        if before is not None or after is not None:
            yield name.replace("_", " "), _told(before), _told(after)


def _told(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)


def _ms(value: Any) -> str:
    return "-" if value is None else f"{value:,.1f} ms"


def _answer(side: Row) -> Text:
    text = Text()
    if side.get("error"):
        text.append_text(_lines(str(side["error"])))
        text.stylize("bold")
    answer = side.get("answer") or ""
    if text and answer:
        text.append("\n")
    text.append_text(_lines(answer[:_LONGEST]))
    if len(answer) > _LONGEST:
        text.append(f"\n… {len(answer) - _LONGEST} characters more: --json")
    return text if text.plain.strip() else Text("(no answer was kept)", style="dim")


def _lines(told: str) -> Text:
    return Text("\n").join(plain(line) for line in told.splitlines())


def answer_text(answer: bytes | None) -> str | None:
    """Give what an answer says, for people: a Message, a completion, a count, or a stream in any format."""
    if answer is None:
        return None
    try:
        return _said(orjson.loads(answer))
    except orjson.JSONDecodeError:
        pass
    try:
        events = [orjson.loads(frame.data) for frame in frames_of(answer) if frame.data[:1] == b"{"]
    except orjson.JSONDecodeError:
        return answer.decode("utf-8", "replace")
    return "".join(map(_piece, events))


def _said(told: Any) -> str:
    if isinstance(told, dict):
        if isinstance(blocks := told.get("content"), list):
            return "\n".join(map(_block, blocks))
        if isinstance(choices := told.get("choices"), list) and choices:
            return _completion(choices[0].get("message") or {})
        if isinstance(error := told.get("error"), dict) and "message" in error:
            return str(error["message"])
    return orjson.dumps(told).decode()


def _completion(message: Row) -> str:
    calls = [_call(call.get("function") or {}, "arguments") for call in message.get("tool_calls") or ()]
    return "\n".join([str(message.get("content") or ""), *calls]).strip()


def _block(block: Row) -> str:
    match block.get("type"):
        case "text":
            return str(block.get("text"))
        case "thinking":
            return f"(thinking) {block.get('thinking')}"
        case "tool_use" | "server_tool_use":
            return _call(block, "input")
        case other:
            return f"({other})"


def _call(call: Row, arguments: str) -> str:
    given = call.get(arguments)
    return f"{call.get('name')}({given if isinstance(given, str) else orjson.dumps(given).decode()})"


def _piece(event: Row) -> str:
    """Give an event's text: of Anthropic's stream, OpenAI's, or the universal one."""
    match event:
        case {"kind": "reasoning"}:
            return ""
        case {"kind": "error", "delta": {"message": str(text)}} | {"error": {"message": str(text)}}:
            return f"\n(error) {text}"
        case {"delta": {"text": str(text)}} | {"choices": [{"delta": {"content": str(text)}}, *_]}:
            return text
        case _:
            return ""


def kept(facts: Row, headers: Row, body: Any, first: Row) -> Iterator[RenderableType]:
    """Draw one captured request: what it is, what was sent, what came of it."""
    names: Sequence[str] = ("id", "time", "flow", "model", "backend", "status", "ms", "error", "error_hash")
    for name in names:
        if facts.get(name) is not None:
            yield Text.assemble((f"{name:11}", "dim"), plain(facts[name]))
    yield Text("")
    for name, value in headers.items():
        yield Text.assemble(plain(f"{name}: {value}"))
    yield _lines(body if isinstance(body, str) else orjson.dumps(body, option=orjson.OPT_INDENT_2).decode())
    yield Text("")
    yield _answer(first)
