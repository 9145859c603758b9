"""How the command line gets at the store: directly, whether a server runs or not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import typer

from headgate.usage_parts import keys_marker, store_is_there, store_of
from tasks.batch import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection

    from coordinators.usage_store import UsageStore
    from headgate.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


def reading(
    settings: Settings,
    nothing: T,
    work: Callable[Concatenate[Connection, P], T],
    *args: P.args,
    **more: P.kwargs,
) -> T:
    """Run `work`, which only reads; gives `nothing` if there is no store yet. A failure ends the command."""
    if not store_is_there(settings):
        return nothing
    return _on_store(settings, lambda store: store.read(work, *args, **more))


def writing(
    settings: Settings, work: Callable[Concatenate[Connection, P], T], *args: P.args, **more: P.kwargs
) -> T:
    """Run `work` on the store, made if there is none. A failure ends the command."""
    return _on_store(settings, lambda store: store.write(work, *args, **more))


def _on_store(settings: Settings, work: Callable[[UsageStore], Awaitable[T]]) -> T:
    async def done() -> T:
        store = store_of(settings)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(done())
    except StoreFailed as error:
        typer.echo(f"headgate: the store cannot be used: {error}", err=True)
        raise typer.Exit(1) from None


def mark_keys(settings: Settings) -> None:
    """Say, for servers that start while the store is down, that there are keys."""
    marker = keys_marker(settings)
    marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker.touch(mode=0o600)
