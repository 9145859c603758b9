"""Builders for tests of the answers' side, and the anthropic SDK as the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from anthropic import Anthropic, Stream
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent

from wire.answer import AnswerContext
from wire.errors import GatewayError
from wire.fold import Fold
from wire.names import ToolNames
from wire.sse import SseDecoder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.live_stream import Translator
    from wire.messages import Event, Json, Message

RECORDINGS = Path(__file__).parent.parent / "recordings"
MODEL = "vendor/model"


def context(**changed: Any) -> AnswerContext:
    fields: dict[str, Any] = {
        "message_id": "msg_01test",
        "model": "claude-test",
        "upstream_model": MODEL,
        "input_estimate": 77,
        "tool_names": ToolNames.of(()),
        "whose_key": "OPENROUTER_API_KEY",
    }
    return AnswerContext(**{**fields, **changed})


def chunk(delta: Json | None = None, finish: str | None = None, **top: Any) -> Json:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "gen-1", "object": "chat.completion.chunk", "choices": [choice], **top}


def call(
    index: int | None = 0, name: str | None = None, arguments: Any = None, call_id: str | None = None
) -> Json:
    """Build a piece of `tool_calls`; what is None is left out."""
    function = {"name": name, "arguments": arguments}
    piece: Json = {"type": "function", "function": {k: v for k, v in function.items() if v is not None}}
    if index is not None:
        piece["index"] = index
    if call_id is not None:
        piece["id"] = call_id
    return piece


def calls(*pieces: Json) -> Json:
    return chunk({"tool_calls": list(pieces)})


def sse(*chunks: Json | str) -> bytes:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in chunks]
    return b"".join(b"data: " + line.encode() + b"\n\n" for line in lines)


def events_of(data: bytes) -> list[Event]:
    """Read back Anthropic SSE bytes, checking that each frame names its type."""
    frames = SseDecoder().feed(data)
    events = [json.loads(frame.data) for frame in frames]
    assert [frame.event for frame in frames] == [event["type"] for event in events]
    return events


def fold(events: Iterable[Event]) -> Message:
    folding = Fold()
    for event in events:
        folding.add(event)
    return folding.message()


def sdk_message(data: bytes) -> Message:
    """Give what the anthropic SDK makes of a stream's bytes."""
    client = Anthropic(api_key="none", base_url="http://127.0.0.1:9", max_retries=0)
    response = httpx2.Response(
        200,
        content=data,
        headers={"content-type": "text/event-stream"},
        request=httpx2.Request("POST", "http://127.0.0.1:9/v1/messages"),
    )
    stream: Stream[Any] = Stream(cast_to=RawMessageStreamEvent, response=response, client=client)  # type: ignore[type-var]
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in stream:
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    client.close()
    return json.loads(snapshot.to_json(warnings=False))  # an input that is no object is odd, and said


def run(machine: Translator, pieces: Iterable[bytes]) -> tuple[bytes, GatewayError | None]:
    """Relay a stream as the flow does: what the client gets, and the error that ended it."""
    out = []
    try:
        for piece in pieces:
            out.append(machine.feed(piece))
            assert machine.started or not out[-1]
        out.append(machine.finish())
    except GatewayError as error:
        return b"".join(out), error
    return b"".join(out), None
