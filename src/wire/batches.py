"""The objects of the Message Batches API, as clients get them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wire.messages import Json

OUTCOMES = ("succeeded", "errored", "canceled", "expired")
_MESSAGE_CHARACTERS = 200


def batch_object(
    batch_id: str,
    *,
    status: str,
    counts: Mapping[str, int],
    created_at: datetime,
    expires_at: datetime,
    ended_at: datetime | None,
    cancel_initiated_at: datetime | None,
    archived_at: datetime | None,
    results_url: str,
) -> Json:
    """Give a MessageBatch; its address of results only if it has ended.

    `counts` are up to date and have every key of `request_counts`. What the client gets of them is what
    Anthropic says of its own: requests are `processing` until the whole batch has ended.
    """
    ended = status == "ended"
    return {
        "id": batch_id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": dict(counts) if ended else unsettled(counts),
        "ended_at": timestamp(ended_at),
        "created_at": timestamp(created_at),
        "expires_at": timestamp(expires_at),
        "archived_at": timestamp(archived_at),
        "cancel_initiated_at": timestamp(cancel_initiated_at),
        "results_url": results_url if ended and archived_at is None else None,
    }


def progress_object(
    batch_id: str,
    *,
    status: str,
    counts: Mapping[str, int],
    created_at: datetime,
    expires_at: datetime,
    ended_at: datetime | None,
    cancel_initiated_at: datetime | None,
    **facts: Any,
) -> Json:
    """Say how far a batch is, which Anthropic's API does not: `request_counts` are those of now.

    `facts` are what else is known of it, as JSON has it. `requests_per_second` is the mean since it was made.
    """
    done = sum(counts[outcome] for outcome in OUTCOMES)
    seconds = ((ended_at or datetime.now(UTC)) - created_at).total_seconds()
    return {
        "id": batch_id,
        "type": "message_batch_progress",
        "processing_status": status,
        "request_counts": dict(counts),
        "requests": sum(counts.values()),
        "done": done,
        "requests_per_second": round(done / seconds, 3) if seconds > 0 else 0.0,
        "created_at": timestamp(created_at),
        "expires_at": timestamp(expires_at),
        "ended_at": timestamp(ended_at),
        "cancel_initiated_at": timestamp(cancel_initiated_at),
        **facts,
    }


def unsettled(counts: Mapping[str, int]) -> dict[str, int]:
    """Count every request as `processing`."""
    return {"processing": sum(counts.values()), **dict.fromkeys(OUTCOMES, 0)}


def page_object(batches: Sequence[Json], *, has_more: bool) -> Json:
    """Give a page of a list of objects that have ids."""
    return {
        "data": list(batches),
        "has_more": has_more,
        "first_id": batches[0]["id"] if batches else None,
        "last_id": batches[-1]["id"] if batches else None,
    }


def deleted_object(batch_id: str) -> Json:
    """Say that a batch was deleted."""
    return {"id": batch_id, "type": "message_batch_deleted"}


def result_line(custom_id: str, outcome: str, body: bytes) -> bytes:
    """Give one line of a batch's results, a MessageBatchIndividualResponse.

    `custom_id` is of the characters that one may have. `body` is the message's JSON if it succeeded, the
    error body's if it errored; it goes out as it is, on one line: JSON has line breaks only between tokens.
    """
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\r", b" ").replace(b"\n", b" ")
    head = b'{"custom_id":"%b","result":{"type":"%b"' % (custom_id.encode(), outcome.encode())
    if outcome == "succeeded":
        return b'%b,"message":%b}}\n' % (head, body)
    if outcome == "errored":
        return b'%b,"error":%b}}\n' % (head, body)
    return head + b"}}\n"


def error_message(body: bytes) -> str:
    """Give the message of an error body, at most 200 characters of it; empty if it has none."""
    try:
        found: Any = orjson.loads(body)["error"]["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    return found[:_MESSAGE_CHARACTERS] if isinstance(found, str) else ""


def timestamp(time: datetime | None) -> str | None:
    """Give an aware time as Anthropic writes it: RFC 3339, in UTC, with a Z."""
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")
