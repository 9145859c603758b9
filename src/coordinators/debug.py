"""What a manager of the gateway may look up: errors, where they can come from, the server's folder."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from coordinators.error_reading import ErrorReader, Wanted
from coordinators.error_registry import code_around, registry, sites_with
from wire.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from coordinators.keys import AdminKeys
    from coordinators.server_folder import ServerFolder
    from wire.messages import Json

T = TypeVar("T")

_OCCURRENCES = 20


class Debug:
    """Answers the debug endpoints. `peer` is the address a request comes from; errors are GatewayErrors.

    Files are read by a thread, one look at a time: many at once would take the memory of as many.
    """

    def __init__(
        self, folder: ServerFolder, admins: AdminKeys, lost: Callable[[], Mapping[str, int]]
    ) -> None:
        self._folder = folder
        self._admins = admins
        self._lost = lost
        self._reader = ErrorReader(folder.path.parent)
        self._looking = asyncio.Lock()

    async def error(self, headers: Mapping[str, str], peer: str | None, hash: str) -> Json:  # noqa: A002
        """Give a hash's place in the code, its counts and its last occurrences; NotFound if never seen."""
        self._admins.check(headers, peer)
        return await self._look(lambda: self._one(hash))

    def _one(self, name: str) -> Json:
        found = self._reader.one(name, _OCCURRENCES)
        sites = [site.to_dict() for site in sites_with(name, str(found["file"]) if found else None)]
        if found is None and not sites:
            raise NotFound(f"no error {name[:40]!r} was seen here, and no place in the source has this hash")
        place = found or {**sites[0], "occurrences": []}
        around = code_around(str(place["file"]), int(place["line"]))
        return {**place, "around": [{"line": line, "code": code} for line, code in around], "sites": sites}

    async def search(
        self, headers: Mapping[str, str], peer: str | None, wanted: Wanted, *, offset: int, limit: int
    ) -> Json:
        """Give a page of errors, the newest first."""
        self._admins.check(headers, peer)
        return await self._look(lambda: self._reader.page(wanted, offset, limit))

    async def places(
        self, headers: Mapping[str, str], peer: str | None, *, kind: str | None, offset: int, limit: int
    ) -> Json:
        """Give a page of the places that can raise, the most frequent first."""
        self._admins.check(headers, peer)
        rows = await self._look(lambda: registry(self._reader))
        rows = [row for row in rows if kind is None or row["kind"] == kind]
        end = offset + limit
        return {"data": rows[offset:end], "total": len(rows), "next_offset": end if end < len(rows) else None}

    async def stats(self, headers: Mapping[str, str], peer: str | None, wanted: Wanted) -> Json:
        """Sum errors up."""
        self._admins.check(headers, peer)
        return await self._look(lambda: self._reader.stats(wanted))

    async def server(self, headers: Mapping[str, str], peer: str | None) -> Json:
        """Say what this server is, and what its folder holds."""
        self._admins.check(headers, peer)
        return await self._look(self._described)

    def _described(self) -> Json:
        folder = self._folder
        files = sorted(folder.path.iterdir()) if folder.path.is_dir() else []
        sizes = {path.name: path.stat().st_size for path in files if path.is_file()}
        return {**folder.facts, "folder": str(folder.path), "files": sizes, "lines_lost": dict(self._lost())}

    async def _look(self, work: Callable[[], T]) -> T:
        async with self._looking:
            return await asyncio.to_thread(work)
