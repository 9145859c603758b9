"""A long body is read while it comes: not beyond its limit, and not for ever."""

from __future__ import annotations

import asyncio

import pytest

from routers import reading
from wire.errors import InvalidRequest, RequestTooLarge, UpstreamTimeout

TOO_LARGE = RequestTooLarge("too large")


def pieces_of(*messages, headers=()):
    """Read what an ASGI server would give; after the last message nothing comes."""
    waiting = list(messages)

    async def receive():
        if waiting:
            return waiting.pop(0)
        return await asyncio.get_running_loop().create_future()

    return reading.body_pieces({"headers": headers}, receive, TOO_LARGE, 1000)


def piece(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_pieces_as_they_come():
    told = [one async for one in pieces_of(piece(b"a"), piece(b""), piece(b"bc", more=False))]
    assert told == [b"a", b"", b"bc"]


@pytest.mark.parametrize("announced", [b"1000", b"nonsense"])
async def test_what_is_announced_within_the_limit(announced):
    pieces = pieces_of(piece(b"a", more=False), headers=[(b"content-length", announced)])
    assert [one async for one in pieces] == [b"a"]


@pytest.mark.parametrize("encoding", [b"identity", b" Identity ", b""])
async def test_a_body_that_says_it_is_plain(encoding):
    headers = [(b"content-encoding", encoding)]
    assert [one async for one in pieces_of(piece(b"a", more=False), headers=headers)] == [b"a"]


@pytest.mark.parametrize(
    ("messages", "headers", "error"),
    [
        ([], [(b"content-length", b"1001")], RequestTooLarge),
        ([], [(b"content-encoding", b"gzip")], InvalidRequest),
        ([piece(b"a"), {"type": "http.disconnect"}], [], InvalidRequest),
    ],
)
async def test_what_is_refused(messages, headers, error):
    with pytest.raises(error):
        async for _ in pieces_of(*messages, headers=headers):
            pass


@pytest.mark.parametrize("limit", ["_PIECE_SECONDS", "_LONG_BODY_SECONDS"])
async def test_a_body_that_stops_coming(monkeypatch, limit):
    monkeypatch.setattr(reading, limit, 0.01)
    with pytest.raises(UpstreamTimeout, match="stopped coming"):
        async for _ in pieces_of(piece(b"a")):
            pass
