"""The server's HTTP protocol alone, without a socket: its deadline, and what a request leaves behind."""

from __future__ import annotations

import asyncio
import gc
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from headgate import protocol
from headgate.protocol import Protocol
from routers.answering import WRITE_WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: here\r\ncontent-length: 4\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in {"peername", "sockname"} else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def _answer(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    while (await receive()).get("more_body"):
        pass
    assert scope[WRITE_WHOLE](200, [(b"content-length", b"2")], b"{}")


@cache
def _config() -> uvicorn.Config:
    config = uvicorn.Config(_answer, http=Protocol, ws="none", lifespan="off", log_config=None)
    config.load()
    return config


def _connect() -> tuple[Protocol, Wire]:
    wire, found = Wire(), Protocol(_config(), ServerState(), {})
    found.connection_made(wire)
    return found, wire


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_REQUEST_SECONDS", 0.05)


@pytest.mark.parametrize("sent", [b"", b"POST /v1", _HEAD])
async def test_who_does_not_go_on_with_a_request_is_cut_off(sent: bytes) -> None:
    connection, wire = _connect()
    if sent:
        connection.data_received(sent)
    async with asyncio.timeout(5):
        while not wire.closed:
            await asyncio.sleep(0.01)
    connection.connection_lost(None)


_PIECES = [[_HEAD + b"{  }"], [_HEAD, b"{  }"], [_HEAD[:9], _HEAD[9:], b"{", b"  }"]]


@pytest.mark.parametrize("pieces", _PIECES)
async def test_a_request_that_came_in_time_has_no_deadline_any_more(pieces: list[bytes]) -> None:
    connection, wire = _connect()
    for piece in pieces:
        connection.data_received(piece)
        await _settle()
    assert wire.written.endswith(b"{}")
    await asyncio.sleep(0.15)
    assert not wire.closed
    connection.connection_lost(None)


async def test_a_request_behind_another_has_a_deadline_of_its_own() -> None:
    connection, wire = _connect()
    connection.data_received(_HEAD + b"{  }" + _HEAD)
    await _settle()
    assert wire.written.count(b"HTTP/1.1 200") == 1
    async with asyncio.timeout(5):
        while not wire.closed:
            await asyncio.sleep(0.01)
    connection.connection_lost(None)


async def test_a_request_that_was_answered_is_freed_without_the_collector() -> None:
    connection, wire = _connect()
    connection.data_received(_HEAD + b"{  }")
    await _settle()
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            connection.data_received(_HEAD + b"{  }")
            await _settle()
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert wire.written.count(b"HTTP/1.1 200") == 21
    connection.connection_lost(None)


@pytest.mark.parametrize("sent", [b"", _HEAD, _HEAD + b"{  }"])
async def test_a_connection_that_ends_is_freed_without_the_collector(sent: bytes) -> None:
    async def come_and_go() -> None:
        connection, _ = _connect()
        connection.data_received(sent)
        await _settle()
        connection.connection_lost(None)
        await _settle()

    await come_and_go()
    gc.collect()
    gc.disable()
    try:
        await come_and_go()
        assert gc.collect() == 0
    finally:
        gc.enable()
