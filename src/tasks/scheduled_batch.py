"""The steps of a batch made of a file by the clock: read, submit, wait, write what became of it.

A run lasts for hours, and nobody begins it anew: so where the store does not answer, it waits and asks again.
"""

from __future__ import annotations

import asyncio
import csv
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from prefect.artifacts import acreate_markdown_artifact

from express import step
from tasks.batch import DuplicateCustomId, Item, ItemResult, KeyTaken, NewItem, StoreFailed
from tasks.batch_input import BadFile, batch_input
from tasks.patience import patiently
from wire.batches import error_message, result_line
from wire.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

    from tasks.batch import Batch, BatchStore, Draft
    from tasks.batch_input import BatchInput

T = TypeVar("T")
One = TypeVar("One", Item, ItemResult)

_log = structlog.get_logger("headgate.batches")

_GROUP_ITEMS = 500
_GROUP_BYTES = 1 << 20
_SHOWN_ERRORS = 20
_LONGEST_PAUSE = 30.0


class ScheduleFailed(Exception):
    """A scheduled batch cannot be done; the message is for whoever looks at the run."""


@dataclass(slots=True)
class Desk:
    """What one run works with. `key` is the run's own: a batch made under it is made once.

    `time` is when the run was due, `hours` how long the batch may take, `look` the seconds between looks at
    it. `batch_id` is known as soon as there is a batch. The store is used on the loop `home` only; the flow
    may run on another.
    """

    store: BatchStore
    tenant: str
    key: str
    time: datetime
    hours: float
    home: asyncio.AbstractEventLoop
    look: float = 2.0
    batch_id: str | None = None

    async def at_home(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done on the store's loop, and give what it gives."""
        if asyncio.get_running_loop() is self.home:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.home))

    async def ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store, on its own loop, until it answers."""
        return await self.at_home(patiently(ask, longest=_LONGEST_PAUSE))


@step
async def find_batch(desk: Desk) -> str | None:
    """Find the batch that this run made before, in whichever process; give its id."""
    made = await desk.ask(lambda: desk.store.get_by_key(desk.tenant, desk.key))
    desk.batch_id = None if made is None else made.id
    return desk.batch_id


@step
async def read_file(file: str, model: str | None) -> int:
    """Look the whole file through, and give the number of its requests; raises ScheduleFailed."""
    return await asyncio.to_thread(_count, file, model)


def _count(file: str, model: str | None) -> int:
    if not isinstance(file, str) or not file:
        raise ScheduleFailed("the parameter `file` is empty")
    if not Path(file).exists():
        raise ScheduleFailed(f"there is no file {file} now")
    try:
        with batch_input(file, model) as given:
            return given.found.requests
    except BadFile as error:
        raise _no_good(file, error) from None


def _no_good(file: str, error: BadFile) -> ScheduleFailed:
    """Say what is wrong with a file: the log has it all, the run what quotes nothing of the file."""
    _log.warning("the file of a scheduled batch is no good", file=file, faults=list(error.lines))
    return ScheduleFailed(error.outline)


@step
async def submit(file: str, model: str | None, desk: Desk) -> str:
    """Make a batch of the file, or find the one that this run made before; give its id."""
    made = await desk.ask(lambda: _made(file, model, desk))
    desk.batch_id = made.id
    return made.id


async def _made(file: str, model: str | None, desk: Desk) -> Batch:
    """Make the batch, unless it is there: a store that failed may have made it all the same."""
    there = await desk.store.get_by_key(desk.tenant, desk.key)
    if there is not None:
        return there
    try:
        with ExitStack() as stack:
            given = await asyncio.to_thread(stack.enter_context, batch_input(file, model))
            return await _created(given, desk)
    except KeyTaken as taken:
        return taken.batch
    except BadFile as error:  # it changed since it was looked through
        raise _no_good(file, error) from None
    except (InvalidRequest, DuplicateCustomId):
        raise ScheduleFailed(f"{file}: changed while it was read") from None


async def _created(given: BatchInput, desk: Desk) -> Batch:
    async with desk.store.creating(
        tenant=desk.tenant, headers={}, idempotency_key=desk.key, label=given.name
    ) as draft:
        await _add(draft, given)
        return await draft.commit(
            digest=f"schedule:{desk.key}", expires_at=datetime.now(UTC) + timedelta(hours=desk.hours)
        )


async def _add(draft: Draft, given: BatchInput) -> None:
    groups = _groups(given)
    while (group := await asyncio.to_thread(next, groups, None)) is not None:
        await draft.add(group)


def _groups(given: BatchInput) -> Iterator[list[NewItem]]:
    group: list[NewItem] = []
    size = 0
    for request in given.requests():
        group.append(NewItem(request.custom_id, request.params))
        size += len(request.params)
        if len(group) == _GROUP_ITEMS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


@step
async def wait_for(batch_id: str, desk: Desk) -> Batch:
    """Wait until the batch has ended, and give it; raises ScheduleFailed if it was deleted."""
    return await desk.at_home(_ended(batch_id, desk))


async def _ended(batch_id: str, desk: Desk) -> Batch:
    while True:
        batch = await desk.ask(lambda: _there(batch_id, desk.store))
        if batch.status == "ended":
            return batch
        await asyncio.sleep(desk.look)


async def _there(batch_id: str, store: BatchStore) -> Batch:
    batch = await store.get(batch_id)
    if batch is None:
        raise ScheduleFailed(f"the batch {batch_id} was deleted before its results were written")
    return batch


@step
async def write_results(batch: Batch, file: str, output: str, desk: Desk) -> str:
    """Write results, summaries and what failed into a folder of the run's own; give the folder.

    The folder appears when everything is in it; one that the run wrote before is left as it is. The run shows
    the summary too, without the errors' messages: upstreams quote prompts in theirs. Raises ScheduleFailed if
    there is no place for the folder, or if the batch was deleted meanwhile.
    """
    folder, errors = await desk.at_home(_written(batch, file, output, desk))
    if errors is not None:
        text = summary(batch, file, errors, messages=False)
        with suppress(Exception):  # the results are there; that the server does not show them is no failure
            await acreate_markdown_artifact(text, key="batch-summary", description=folder)
    return folder


async def _written(
    batch: Batch, file: str, output: str, desk: Desk
) -> tuple[str, dict[tuple[str, str], int] | None]:
    """Write the folder; give it, and how often each error occurred, None if it was written before."""
    wanted = Path(output) / desk.time.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    partial = Path(output) / f".{batch.id}.partial"
    try:
        folder = _free(wanted, batch)
        if folder.exists():
            return str(folder), None
        partial.mkdir(parents=True, exist_ok=True)
        errors = await _write_all(batch, file, partial, desk)
        folder = _free(wanted, batch)
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ScheduleFailed(f"{output}: {error.strerror or error}: the results were not written") from None
    except ScheduleFailed:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return str(folder), errors


def _free(wanted: Path, batch: Batch) -> Path:
    """Give a folder that is not there yet, or the one that has this batch's results."""
    folder, number = wanted, 1
    while folder.exists() and not _holds(folder, batch):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder


def _holds(folder: Path, batch: Batch) -> bool:
    with suppress(OSError, UnicodeDecodeError):
        return f"`{batch.id}`" in (folder / "summary.md").read_text()
    return False


async def _write_all(batch: Batch, file: str, folder: Path, desk: Desk) -> dict[tuple[str, str], int]:
    errors = await _write_each(batch, folder, desk)
    await _write_failures(batch, folder / "failures.jsonl", desk)
    await desk.ask(lambda: _there(batch.id, desk.store))  # a deleted batch has no more pages: no end of them
    (folder / "summary.md").write_text(summary(batch, file, errors))
    return errors


async def _write_each(batch: Batch, folder: Path, desk: Desk) -> dict[tuple[str, str], int]:
    """Write results.jsonl and summary.csv; give how often each error occurred, with one of its messages."""
    errors: dict[tuple[str, str], int] = {}
    with (
        (folder / "results.jsonl").open("wb") as results,
        (folder / "summary.csv").open("w", newline="") as table,
    ):
        rows = csv.writer(table)
        rows.writerow(_COLUMNS)
        async for one in _each(batch, desk, desk.store.results):
            results.write(result_line(one.custom_id, one.outcome, one.body))
            message = error_message(one.body) if one.outcome == "errored" else ""
            rows.writerow(_row(one, message))
            if one.outcome == "errored":
                kind = one.error_type or "api_error"
                known = next((key for key in errors if key[0] == kind), (kind, message))
                errors[known] = errors.get(known, 0) + 1
    return errors


_COLUMNS = (
    "custom_id", "outcome", "error_type", "error_hash", "message", "attempts", "ms", "input_tokens",
    "output_tokens", "cost",
)  # fmt: skip


def _row(one: ItemResult, message: str) -> tuple[object, ...]:
    # a spreadsheet takes what begins with one of these for a formula
    safe = f"'{message}" if message.startswith(("=", "+", "-", "@")) else message
    return (
        one.custom_id, one.outcome, one.error_type or "", one.error_hash or "", safe, one.attempts,
        round(one.ms), one.input_tokens, one.output_tokens, one.cost,
    )  # fmt: skip


async def _each(batch: Batch, desk: Desk, pages: Callable[..., Awaitable[list[One]]]) -> AsyncIterator[One]:
    """Give what is on the pages, each page once: one that the store fails to give is asked for again.

    Raises ScheduleFailed if the batch was deleted.
    """
    after = -1
    while page := await _page(batch, desk, pages, after):
        for one in page:
            yield one
        after = page[-1].seq


async def _page(
    batch: Batch, desk: Desk, pages: Callable[..., Awaitable[list[One]]], after: int
) -> list[One]:
    async def asked() -> list[One]:
        try:
            return await pages(batch.id, after=after)
        except StoreFailed:
            await _there(batch.id, desk.store)  # of a batch that was deleted it fails for good
            raise

    return await desk.ask(asked)


async def _write_failures(batch: Batch, path: Path, desk: Desk) -> None:
    """Write the requests that did not succeed, as a file to make a batch of."""
    with path.open("wb") as file:
        async for item in _each(batch, desk, desk.store.failed_items):
            params = item.params.replace(b"\r", b" ").replace(b"\n", b" ")
            file.write(b'{"custom_id":"%b","params":%b}\n' % (item.custom_id.encode(), params))


def summary(batch: Batch, file: str, errors: dict[tuple[str, str], int], *, messages: bool = True) -> str:
    """Say in Markdown what became of a batch.

    `errors` says how often each occurred, by its type and one of its messages; `messages` shows those.
    """
    counts = batch.counts
    failed = counts.errored + counts.canceled + counts.expired
    lines = [
        f"# {batch.label or batch.id}",
        "",
        "| | |",
        "|---|---|",
        f"| batch | `{batch.id}` |",
        f"| file | `{file}` |",
        f"| created | {batch.created_at:%Y-%m-%d %H:%M:%S} UTC |",
        f"| ended | {batch.ended_at or batch.created_at:%Y-%m-%d %H:%M:%S} UTC |",
        f"| requests | {batch.items:,} |",
        f"| succeeded | {counts.succeeded:,} |",
        f"| errored | {counts.errored:,} |",
        f"| canceled | {counts.canceled:,} |",
        f"| expired | {counts.expired:,} |",
        f"| tokens in | {batch.input_tokens:,} |",
        f"| tokens out | {batch.output_tokens:,} |",
        f"| cost | ${batch.cost:,.4f} |",
        "",
    ]
    if errors:
        lines += ["## Errors", "", *_table(errors, messages=messages), ""]
    if failed:
        said = "What did not succeed is in `failures.jsonl`:"
        lines += [said, "", "    headgate batch submit failures.jsonl", ""]
    return "\n".join(lines)


def _table(errors: dict[tuple[str, str], int], *, messages: bool) -> list[str]:
    common = sorted(errors.items(), key=lambda one: -one[1])[:_SHOWN_ERRORS]
    if not messages:
        rows = [f"| {kind} | {count:,} |" for (kind, _), count in common]
        return ["| error | requests |", "|---|---:|", *rows]
    rows = [f"| {kind} | {count:,} | {_cell(message)} |" for (kind, message), count in common]
    return ["| error | requests | for example |", "|---|---:|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
