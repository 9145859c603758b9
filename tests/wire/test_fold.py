"""The fold: events to a Message, as the anthropic SDK does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.answers import fold, sdk_message
from wire.errors import UpstreamFailed
from wire.sse import encode_event

if TYPE_CHECKING:
    from wire.messages import Event

DEEP = '{"a":' + "[" * 300 + "]" * 300 + "}"


def tool_events(arguments: list[str], stop_reason: str = "tool_use") -> list[Event]:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 1},
    }
    block = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in arguments]
    return [
        {"type": "message_start", "message": message},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "of_the_future"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None, "container": None},
            "usage": {"output_tokens": 9, "input_tokens": None},
        },
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize(
    ("arguments", "stop_reason", "given"),
    [
        ([], "tool_use", {}),
        ([""], "tool_use", {}),
        (['{"a"', ": 1}"], "tool_use", {"a": 1}),
        (['{"a": 1, "b": ["x', "y"], "max_tokens", {"a": 1, "b": []}),
        (["{"], "max_tokens", {}),
        (['{"a": [[[[' + "[]," * 300 + "1]]]]}"], "tool_use", {"a": [[[[*([[]] * 300), 1]]]]}),
    ],
)
def test_input_is_what_the_sdk_reads(arguments: list[str], stop_reason: str, given: Any) -> None:
    events = tool_events(arguments, stop_reason)
    message = fold(events)
    assert message["content"][0]["input"] == given
    assert message["usage"] == {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 9}
    known = [event for event in events if event.get("delta", {}).get("type") != "of_the_future"]
    read = sdk_message(b"".join(map(encode_event, known)))
    assert read["content"][0]["input"] == given


@pytest.mark.parametrize("arguments", ['{"a": 1', '{"a": }', "[1]", "null", "7", '{"a":1}{"b":2}'])
def test_input_that_is_no_object_is_an_error(arguments: str) -> None:
    with pytest.raises(UpstreamFailed, match="'Read' with arguments that are no JSON object"):
        fold(tool_events([arguments]))


@pytest.mark.parametrize("arguments", ['{"a": }', "[1"])
def test_so_it_is_in_a_cut_message(arguments: str) -> None:
    with pytest.raises(UpstreamFailed, match="no JSON object"):
        fold(tool_events([arguments], "max_tokens"))


def test_input_too_deep_to_be_written_is_an_error() -> None:
    with pytest.raises(UpstreamFailed, match="nested too deep"):
        fold(tool_events([DEEP]))


def test_nothing_given_is_changed() -> None:
    events = tool_events(['{"a": 1}'])
    before = repr(events)
    fold(events)
    assert repr(events) == before
