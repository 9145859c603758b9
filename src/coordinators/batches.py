"""Message batches as clients see them: made, looked at, stopped, deleted. Others execute them."""

from __future__ import annotations

import hashlib
from contextlib import aclosing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote

import structlog

from tasks.batch import DuplicateCustomId, KeyTaken, NewItem, StoreFailed
from wire.batch_body import BatchBody
from wire.batches import (
    batch_object,
    deleted_object,
    error_message,
    page_object,
    progress_object,
    result_line,
)
from wire.errors import InvalidRequest, KeyReused, NotFound, Overloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from coordinators.keys import ClientKeys
    from tasks.batch import Batch, BatchStore, Draft, ItemResult
    from wire.messages import Json

_log = structlog.get_logger("headgate.batches")

NAME = "x-headgate-batch-name"
"""The header with a name for people, percent-encoded."""

_LONGEST_NAME = 200
_LONGEST_KEY = 255
_ADD_ITEMS = 500
_ADD_BYTES = 1 << 20
_PAGE = 500
_FAILURES = 50


class Batches:
    """Answers the Message Batches API from a store that is opened when it is first asked for.

    `hours` is how long a batch may take. `run_url` gives the address of a flow run in Prefect's UI, if there
    is one to be told. `root` is the address that the client reached us at. Errors are GatewayErrors: a batch
    of another tenant is NotFound, a store that fails is Overloaded.
    """

    def __init__(
        self,
        store: Callable[[], Awaitable[BatchStore]],
        keys: ClientKeys,
        *,
        hours: float,
        run_url: Callable[[str], str | None],
    ) -> None:
        self._store = store
        self._keys = keys
        self._hours = hours
        self._run_url = run_url

    async def create(self, headers: Mapping[str, str], pieces: AsyncIterator[bytes], root: str) -> Json:
        """Make a batch of a body as it comes; the same body under the same idempotency key is made once."""
        tenant = self._keys.check(headers)
        key, name = _idempotency_key(headers), _name(headers)
        kept = {name: value for name, value in headers.items() if name.startswith("anthropic-")}
        with _told():
            store = await self._store()
            making = store.creating(tenant=tenant, headers=kept, idempotency_key=key, label=name)
            async with making as draft:
                reader = _Reader(draft)
                async with aclosing(pieces):  # type: ignore[type-var]
                    async for piece in pieces:
                        await reader.take(piece)
                digest = await reader.close()
                expires_at = datetime.now(UTC) + timedelta(hours=self._hours)
                try:
                    batch = await draft.commit(digest=digest, expires_at=expires_at)
                except KeyTaken as taken:
                    return _made_before(taken, digest, root)
        _log.info("batch created", batch=batch.id, requests=batch.items, bytes=reader.size, tenant=tenant)
        return _shown(batch, root)

    async def retrieve(self, headers: Mapping[str, str], batch_id: str, root: str) -> Json:
        """Give a batch."""
        _, batch = await self._find(headers, batch_id)
        return _shown(batch, root)

    async def page(
        self,
        headers: Mapping[str, str],
        root: str,
        *,
        limit: int,
        before_id: str | None,
        after_id: str | None,
    ) -> Json:
        """List the tenant's batches, newest first, a page at a time; a mark may have been deleted since."""
        tenant = self._keys.check(headers)
        if before_id and after_id:
            raise InvalidRequest("before_id: cannot be given together with after_id")
        with _told():
            store = await self._store()
            for field, mark in (("before_id", before_id), ("after_id", after_id)):
                if mark and not await store.is_mark(mark, tenant):
                    raise InvalidRequest(f"{field}: there is no batch with this id")
            batches, more = await store.page(
                tenant, before_id=before_id or None, after_id=after_id or None, limit=limit
            )
        return page_object([_shown(batch, root) for batch in batches], has_more=more)

    async def cancel(self, headers: Mapping[str, str], batch_id: str, root: str) -> Json:
        """Begin to cancel a batch; one that has ended stays as it is."""
        store, _ = await self._find(headers, batch_id)
        with _told():
            batch = _there(await store.cancel(batch_id), batch_id)
        _log.info("batch to be canceled", batch=batch_id, status=batch.status)
        return _shown(batch, root)

    async def delete(self, headers: Mapping[str, str], batch_id: str) -> Json:
        """Delete a batch that has ended, with its results."""
        store, batch = await self._find(headers, batch_id)
        with _told():
            done = batch.status == "ended" and await store.delete(batch_id)
        if not done:
            raise InvalidRequest(
                f"{batch_id} cannot be deleted before it has ended; cancel it and wait for its end"
            )
        _log.info("batch deleted", batch=batch_id)
        return deleted_object(batch_id)

    async def pause(self, headers: Mapping[str, str], batch_id: str, *, paused: bool) -> Json:
        """Hold back a batch's requests that are not under way, or let them go on; gives its progress."""
        store, batch = await self._find(headers, batch_id)
        if batch.status != "in_progress":
            what = "paused" if paused else "resumed"
            raise InvalidRequest(f"{batch_id} cannot be {what}: it is {batch.status}, not in_progress")
        with _told():
            batch = _there(await store.pause(batch_id, paused=paused), batch_id)
        _log.info("batch paused" if paused else "batch resumed", batch=batch_id)
        return await self._progress_of(store, batch)

    async def progress(self, headers: Mapping[str, str], batch_id: str) -> Json:
        """Say how far a batch is: counts of now, tokens, cost, the run that executes it, what failed."""
        return await self._progress_of(*await self._find(headers, batch_id))

    async def results(self, headers: Mapping[str, str], batch_id: str) -> AsyncIterator[bytes]:
        """Give the lines of an ended batch's results, a page of them at a time, in the requests' order.

        What is wrong is raised here; a store that fails later is StoreFailed from the iterator, which must
        break the answer off: its end would say that it is whole.
        """
        store, batch = await self._find(headers, batch_id)
        if batch.status != "ended":
            counts = batch.counts
            raise InvalidRequest(
                f"{batch_id} has no results before it has ended: it is {batch.status}, with "
                f"{counts.processing:,} of {batch.items:,} requests still to be answered"
            )
        if batch.archived_at is not None:
            raise NotFound(f"the results of {batch_id} are no longer kept")
        with _told():
            first = await store.results(batch_id, limit=_PAGE)
        return _lines(store, batch_id, first)

    async def _find(self, headers: Mapping[str, str], batch_id: str) -> tuple[BatchStore, Batch]:
        tenant = self._keys.check(headers)
        with _told():
            store = await self._store()
            return store, _there(await store.get(batch_id, tenant), batch_id)

    async def _progress_of(self, store: BatchStore, batch: Batch) -> Json:
        failed: list[ItemResult] = []
        if batch.counts.errored:
            with _told():
                failed = await store.failures(batch.id, limit=_FAILURES)
        return progress_object(
            batch.id,
            **_state_of(batch),
            name=batch.label,
            paused=batch.paused,
            input_tokens=batch.input_tokens,
            output_tokens=batch.output_tokens,
            cost=batch.cost,
            run_id=batch.flow_run,
            run_url=self._run_url(batch.flow_run) if batch.flow_run else None,
            failures=[_failure(one) for one in failed],
        )


class _Reader:
    """Puts the requests of a body into a draft as they become whole, some hundred at a time."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._body = BatchBody()
        self._digest = hashlib.sha256()
        self._waiting: list[NewItem] = []
        self._bytes = 0

    @property
    def size(self) -> int:
        return self._body.size

    async def take(self, piece: bytes) -> None:
        self._digest.update(piece)
        for one in self._body.feed(piece):
            self._waiting.append(NewItem(one.custom_id, one.params))
            self._bytes += len(one.params)
        if len(self._waiting) >= _ADD_ITEMS or self._bytes >= _ADD_BYTES:
            await self._add()

    async def close(self) -> str:
        """Add the rest, and give the body's digest."""
        self._body.close()
        if self._waiting:
            await self._add()
        return self._digest.hexdigest()

    async def _add(self) -> None:
        try:
            await self._draft.add(self._waiting)
        except DuplicateCustomId as error:
            raise InvalidRequest(f"requests: the custom_id {error} is given more than once") from None
        self._waiting = []
        self._bytes = 0


@contextmanager
def _told() -> Iterator[None]:
    """Tell the client of a store that fails as Anthropic's API does of being overloaded."""
    try:
        yield
    except StoreFailed as error:
        _log.warning("the store of batches failed", because=str(error))
        raise Overloaded("the store of batches cannot be used now; try again later") from error


def _there(batch: Batch | None, batch_id: str) -> Batch:
    if batch is None:
        raise NotFound(f"there is no batch {batch_id[:100]}")
    return batch


def _idempotency_key(headers: Mapping[str, str]) -> str | None:
    key = headers.get("idempotency-key", "").strip()
    if len(key) > _LONGEST_KEY:
        raise InvalidRequest(f"idempotency-key: must have at most {_LONGEST_KEY} characters")
    return key or None


def _name(headers: Mapping[str, str]) -> str | None:
    return unquote(headers.get(NAME, "")).strip()[:_LONGEST_NAME].replace("\x00", "") or None


def _made_before(taken: KeyTaken, digest: str, root: str) -> Json:
    if taken.digest != digest:
        raise KeyReused(f"idempotency-key: {taken.batch.id} was made with this key, of another body")
    _log.info("batch was created before", batch=taken.batch.id)
    return _shown(taken.batch, root)


def _state_of(batch: Batch) -> Json:
    return {
        "status": batch.status,
        "counts": asdict(batch.counts),
        "created_at": batch.created_at,
        "expires_at": batch.expires_at,
        "ended_at": batch.ended_at,
        "cancel_initiated_at": batch.cancel_initiated_at,
    }


def _shown(batch: Batch, root: str) -> Json:
    return batch_object(
        batch.id,
        **_state_of(batch),
        archived_at=batch.archived_at,
        results_url=f"{root}/v1/messages/batches/{batch.id}/results",
    )


def _failure(one: ItemResult) -> Json:
    return {
        "custom_id": one.custom_id,
        "error_type": one.error_type,
        "message": error_message(one.body),
        "error_hash": one.error_hash,
        "attempts": one.attempts,
    }


async def _lines(store: BatchStore, batch_id: str, page: list[ItemResult]) -> AsyncIterator[bytes]:
    count = 0
    while page:
        yield b"".join([result_line(one.custom_id, one.outcome, one.body) for one in page])
        count += len(page)
        try:
            page = await store.results(batch_id, after=page[-1].seq, limit=_PAGE)
        except StoreFailed as error:
            _log.warning("results broken off", batch=batch_id, sent=count, because=str(error))
            raise
    _log.info("results sent", batch=batch_id, results=count)
