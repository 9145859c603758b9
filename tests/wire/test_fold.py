"""The fold: events to a Message, as the anthropic SDK does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.answers import fold, sdk_message
from wire.errors import UpstreamFailed
from wire.sse import encode_event

if TYPE_CHECKING:
    from wire.messages import Event


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
        (['{"a": 1, "b": ["x', "y"], "refusal", {"a": 1, "b": []}),
        (['{"a": 1'], "tool_use", {"a": 1}),
        (["[1]"], "tool_use", [1]),
        (["null"], "tool_use", None),
        (['"x"'], "tool_use", "x"),
        (["7"], "tool_use", 7),
        (['{"a":1}', '{"b":2}'], "tool_use", {"a": 1}),
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


@pytest.mark.parametrize("arguments", ['{"a": }', "foo", "nul", '"x', "]"])
@pytest.mark.parametrize("stop_reason", ["tool_use", "max_tokens"])
def test_input_that_the_sdk_cannot_read_is_an_error(arguments: str, stop_reason: str) -> None:
    with pytest.raises(UpstreamFailed, match="'Read' with arguments that are no JSON"):
        fold(tool_events([arguments], stop_reason))
    with pytest.raises(ValueError, match="Unable to parse tool parameter JSON"):
        sdk_message(b"".join(map(encode_event, tool_events([arguments], stop_reason)[:4])))


@pytest.mark.parametrize("levels", [210, 300])
@pytest.mark.parametrize("end", ["}", ""])
def test_input_deeper_than_the_sdk_reads_is_an_error(levels: int, end: str) -> None:
    with pytest.raises(UpstreamFailed, match="nested too deep"):
        fold(tool_events(['{"a":' + "[" * levels + "]" * levels + end]))


def test_a_cut_input_may_hold_what_only_the_sdk_writes() -> None:
    assert fold(tool_events(['{"a": NaN'], "max_tokens"))["content"][0]["input"] == {"a": None}
    with pytest.raises(UpstreamFailed, match="more than 64 bits"):
        fold(tool_events(['{"a": 123456789012345678901234567890, "b'], "max_tokens"))


def test_nothing_given_is_changed() -> None:
    events = tool_events(['{"a": 1}'])
    before = repr(events)
    fold(events)
    assert repr(events) == before
