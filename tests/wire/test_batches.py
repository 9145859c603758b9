"""The API's objects, read by the SDK's own models."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

from wire import batches

BORN = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=1)))
COUNTS = {"processing": 3, "succeeded": 4, "errored": 1, "canceled": 0, "expired": 2}


def batch(status, counts=COUNTS, **times):
    given = {"created_at": BORN, "expires_at": BORN + timedelta(days=1)}
    absent = dict.fromkeys(("ended_at", "cancel_initiated_at", "archived_at"))
    return batches.batch_object(
        "msgbatch_1", status=status, counts=counts, results_url="http://x/r", **(given | absent | times)
    )


@pytest.mark.parametrize("status", ["in_progress", "canceling"])
def test_a_batch_that_goes_on_counts_all_as_processing(status):
    told = MessageBatch.model_validate(batch(status))
    assert told.request_counts.to_dict() == {
        "processing": 10, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0
    }  # fmt: skip
    assert told.results_url is None
    assert told.created_at == BORN


def test_an_ended_batch():
    counts = COUNTS | {"processing": 0}
    told = MessageBatch.model_validate(batch("ended", counts, ended_at=BORN))
    assert told.request_counts.to_dict() == counts
    assert told.results_url == "http://x/r"
    assert batch("ended", counts, ended_at=BORN, archived_at=BORN)["results_url"] is None


def test_times_are_written_as_anthropic_does():
    assert batches.timestamp(BORN) == "2026-01-02T02:04:05.000678Z"
    assert batches.timestamp(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(("seconds", "rate"), [(2, 3.5), (0, 0.0)])
def test_how_far_a_batch_is(seconds, rate):
    told = batches.progress_object(
        "msgbatch_1", status="ended", counts=COUNTS, created_at=BORN, expires_at=BORN + timedelta(days=1),
        ended_at=BORN + timedelta(seconds=seconds), cancel_initiated_at=None, cost=0.5,
    )  # fmt: skip
    assert (told["requests"], told["done"], told["requests_per_second"], told["cost"]) == (10, 7, rate, 0.5)
    assert told["request_counts"] == COUNTS


MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 2},
}  # fmt: skip
ERROR = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": "req_1"}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    ("outcome", "field", "content"),
    [
        ("succeeded", "message", MESSAGE),
        ("errored", "error", ERROR),
        ("canceled", None, None),
        ("expired", None, None),
    ],
)
def test_a_line_of_results(outcome, field, content, indent):
    body = json.dumps(content, indent=indent).encode().replace(b"\n", b"\r\n") if field else b""
    line = batches.result_line("item-1", outcome, body)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\r" not in line
    told = MessageBatchIndividualResponse.model_validate_json(line)
    assert (told.custom_id, told.result.type) == ("item-1", outcome)
    if field:
        assert json.loads(line)["result"][field] == content


def test_pages():
    assert batches.page_object([], has_more=False) == {
        "data": [], "has_more": False, "first_id": None, "last_id": None
    }  # fmt: skip
    page = batches.page_object([{"id": "a"}, {"id": "b"}], has_more=True)
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("a", "b", True)
    assert batches.deleted_object("a") == {"id": "a", "type": "message_batch_deleted"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (json.dumps(ERROR).encode(), "no"),
        (b'{"error": {"message": "%b"}}' % (b"x" * 300), "x" * 200),
        (b'{"error": {"message": 5}}', ""),
        (b'{"error": "x"}', ""),
        (b"[]", ""),
        (b"<html>", ""),
    ],
)
def test_the_message_of_an_error_body(body, told):
    assert batches.error_message(body) == told
