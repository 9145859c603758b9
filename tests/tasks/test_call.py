"""Opening a stream: what its first event says is still an HTTP status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tasks.backend import Outgoing
from tasks.call import open_stream
from tests.wire.answers import context
from wire.errors import KeyRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REFUSED = {
    "messages": {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}},
    "chat": {"error": {"code": 401, "message": "no such key"}},
}


class OneEvent:
    """A lane, and the stream it opens, of one error event."""

    status = 200

    def __init__(self, event: Any) -> None:
        self.headers = {"content-type": "text/event-stream"}
        self.closed = False
        self._event = event

    async def open_stream(self, _: Outgoing) -> OneEvent:
        return self

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"event: error\ndata: " + json.dumps(self._event).encode() + b"\n\n"

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("wire", ["messages", "chat"])
async def test_a_refusal_that_comes_first_says_whose_key(wire: Literal["messages", "chat"]) -> None:
    lane: Any = OneEvent(REFUSED[wire])
    outgoing = Outgoing(wire, b"{}", {}, stream=True, context=context())
    with pytest.raises(KeyRefused, match=r"^OPENROUTER_API_KEY was refused by the upstream"):
        await open_stream.fn(outgoing, lane)
    assert lane.closed
