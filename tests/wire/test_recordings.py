"""Recorded streams, cut everywhere: what comes out never depends on where the reads end."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.wire.answers import RECORDINGS, context, events_of, fold, run, sdk_message
from wire.chat_bytes import ChatBytes
from wire.errors import GatewayError, Overloaded, RateLimited, UpstreamFailed
from wire.messages_bytes import MessagesBytes

if TYPE_CHECKING:
    from tasks.live_stream import Translator

OURS = "[cm][he]*"  # chat_ and messages_; Gemini's are read elsewhere
NAMES = sorted(path.stem for path in RECORDINGS.glob(f"{OURS}.sse"))
MESSAGES = {path.name.removesuffix(".message.json"): path for path in RECORDINGS.glob(f"{OURS}.message.json")}
ENDS_BADLY: dict[str, tuple[type[GatewayError], str]] = {
    "chat_error_first": (
        RateLimited,
        "Provider returned error: Rate limit reached for gpt-5 (OpenAI)",
    ),
    "chat_error_midstream": (UpstreamFailed, "Provider disconnected unexpectedly (Anthropic)"),
    "chat_truncated": (UpstreamFailed, "the upstream ended the stream before its answer was complete"),
    "messages_error_first": (Overloaded, "Overloaded"),
    "messages_truncated": (UpstreamFailed, "the upstream ended the stream before its answer was complete"),
}
SMALL = 1000


def recorded(name: str) -> bytes:
    return (RECORDINGS / f"{name}.sse").read_bytes()


def translator(name: str) -> Translator:
    if name.startswith("messages"):
        return MessagesBytes("claude-test")
    return ChatBytes(context(web_search="web" in name))


def steady(out: bytes) -> bytes:
    """Take the random part out of made ids."""
    return re.sub(rb"srvtoolu_01\w{22}", b"srvtoolu_made", out)


def relayed(name: str, pieces: list[bytes]) -> tuple[bytes, tuple[type, str] | None]:
    out, error = run(translator(name), pieces)
    return steady(out), None if error is None else (type(error), error.message)


def cuts(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_every_stream_that_ends_well_has_its_message() -> None:
    assert set(NAMES) == MESSAGES.keys() | ENDS_BADLY.keys() | {"messages_error_midstream"}


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_gives_the_message(name: str) -> None:
    out, error = relayed(name, [recorded(name)])
    assert error is None
    assert fold(events_of(out)) == json.loads(MESSAGES[name].read_bytes())


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_the_sdk_reads_the_same_message(name: str) -> None:
    out, _ = relayed(name, [recorded(name)])
    expected = json.loads(MESSAGES[name].read_bytes())
    expected["usage"].pop("cost", None)  # the SDK drops OpenRouter's addition to `message_delta.usage`
    read = {field: value for field, value in sdk_message(out).items() if value is not None}
    assert read == {field: value for field, value in expected.items() if value is not None}


@pytest.mark.parametrize("name", sorted(ENDS_BADLY))
def test_ends_in_the_error(name: str) -> None:
    assert relayed(name, [recorded(name)])[1] == ENDS_BADLY[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 257, 1021])
def test_cut_in_odd_sizes(name: str, size: int) -> None:
    data = recorded(name)
    assert relayed(name, cuts(data, size)) == relayed(name, [data])


@pytest.mark.parametrize("name", [name for name in NAMES if len(recorded(name)) < SMALL])
def test_cut_at_every_byte(name: str) -> None:
    data = recorded(name)
    whole = relayed(name, [data])
    assert {at for at in range(len(data)) if relayed(name, [data[:at], data[at:]]) != whole} == set()


@pytest.mark.parametrize("name", NAMES)
def test_ended_at_every_byte(name: str) -> None:
    """A stream cut short is an error, or it had said all that counts."""
    data = recorded(name)
    whole, _ = relayed(name, [data])
    message = json.loads(MESSAGES[name].read_bytes()) if name in MESSAGES else None
    for at in range(0, len(data), 1 if len(data) < SMALL else 13):
        out, error = relayed(name, [data[:at]])
        if error is None and b"event: error" not in out:
            assert message is not None
            assert fold(events_of(out))["content"] == message["content"]
        else:
            assert whole.startswith(out)


def test_an_error_in_mid_stream_passes_on_the_messages_wire() -> None:
    machine = MessagesBytes("claude-test")
    out, error = run(machine, [recorded("messages_error_midstream")])
    assert error is None
    assert machine.failed
    assert events_of(out)[-1] == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
    }


def test_the_messages_wire_passes_unmodified_but_for_the_model() -> None:
    data = recorded("messages_tools")
    out, _ = relayed("messages_tools", [data])
    assert out == data.replace(b"anthropic/claude-4-sonnet-20250522", b"claude-test")


def test_line_ends_make_no_difference() -> None:
    assert relayed("chat_text", [recorded("chat_text_crlf")]) == relayed("chat_text", [recorded("chat_text")])


def test_an_error_in_mid_stream_is_known_on_the_messages_wire() -> None:
    machine = MessagesBytes("claude-test")
    run(machine, [recorded("messages_error_midstream")])
    assert isinstance(machine.error, Overloaded)
    assert machine.error.message == "Overloaded"
