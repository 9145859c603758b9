"""Calls that take too long, or are cancelled meanwhile, at a real server that says nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from coordinators.http_upstream import HttpUpstream, Timeouts, _Deadline, _told
from wire.errors import UpstreamFailed, UpstreamTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def silent(whole: float) -> AsyncIterator[tuple[HttpUpstream, str]]:
    """Give a way upstream, and the address of a server that takes requests and never answers."""

    listening: list[asyncio.Task[None] | None] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listening.append(asyncio.current_task())
        while await reader.read(1000):
            pass
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(listen, "127.0.0.1")
    http = HttpUpstream(Timeouts(first_byte=0.05, whole=whole))
    try:
        yield http, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        await http.close()
        server.close()
        await asyncio.gather(*(one for one in listening if one is not None))


def cancels() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_a_call_that_takes_too_long_is_a_time_out_and_no_cancellation() -> None:
    async with silent(0.05) as (http, url):
        with pytest.raises(UpstreamTimeout, match=r"no whole answer within 0\.05 s") as late:
            await http.post(url, b"{}", {})
        assert cancels() == 0
        assert not late.value.retryable


async def test_a_stream_whose_first_byte_is_late_is_not_asked_for_again() -> None:
    async with silent(600) as (http, url):
        with pytest.raises(UpstreamTimeout, match=r"no first byte within 0\.05 s") as late:
            await http.open(url, b"{}", {})
        assert not late.value.retryable


def test_no_connection_in_time_is_a_lost_connection_and_tried_again() -> None:
    told = _told(aiohttp.ConnectionTimeoutError(), "silence")
    assert isinstance(told, UpstreamTimeout)
    assert (told.message, told.retryable) == ("upstream: no connection in time", True)
    assert not _told(aiohttp.SocketTimeoutError(), "the stream fell silent").retryable
    assert _told(aiohttp.ServerDisconnectedError(), "silence").retryable


async def test_only_what_has_no_connection_is_unreached() -> None:
    """The rest may be about the model that was asked for."""
    async with silent(0.05) as (http, url):
        with pytest.raises(UpstreamTimeout) as late:
            await http.post(url, b"{}", {})
        assert not late.value.unreached
        with pytest.raises(UpstreamFailed, match="cannot connect") as nobody:
            await http.post("http://127.0.0.1:9/", b"{}", {})
        assert nobody.value.unreached
    in_vain = _told(aiohttp.ConnectionTimeoutError(), "silent")
    assert (type(in_vain), in_vain.unreached) == (UpstreamTimeout, True)


async def test_who_cancels_a_call_is_obeyed() -> None:
    async with silent(600) as (http, url):
        call = asyncio.create_task(http.post(url, b"{}", {}))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_who_cancels_at_the_deadline_is_obeyed_too() -> None:
    async def call() -> None:
        deadline = _Deadline(0)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            assert not deadline.passed()
            assert cancels() == 1  # the other one's
            raise

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_deadline_within_another_passes_for_itself() -> None:
    async with silent(0.05) as (http, url), asyncio.timeout(60):
        with pytest.raises(UpstreamTimeout):
            await http.post(url, b"{}", {})
