"""The SDK's six calls for batches, plain and beta, against a whole gateway and a slow upstream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from tests.e2e.gateways import Headgate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.handle import FakeOpenRouter

PLACES = 4


@pytest.fixture(scope="module")
def gateway(
    openrouter_process: FakeOpenRouter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Headgate]:
    folder = tmp_path_factory.mktemp("headgate-batch-calls")
    settings = {"HEADGATE_BATCH_CONCURRENCY": str(PLACES)}
    with Headgate(folder, openrouter_process.base_url, "chat", **settings) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Headgate) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0, timeout=60) as client:
        yield client


def asked(count: int) -> Any:
    messages = [{"role": "user", "content": "Is it so?"}]
    params = {"model": "openai/gpt-5", "max_tokens": 50, "messages": messages}
    return [{"custom_id": f"item-{number}", "params": params} for number in range(count)]


def until_ended(batches: Any, batch_id: str) -> Any:
    limit = time.monotonic() + 90
    while (batch := batches.retrieve(batch_id)).processing_status != "ended":
        assert time.monotonic() < limit, batch
        time.sleep(0.1)
    return batch


@pytest.mark.parametrize("beta", [False, True], ids=["plain", "beta"])
def test_the_six_calls_of_the_sdk(
    client: anthropic.Anthropic, openrouter: FakeOpenRouter, *, beta: bool
) -> None:
    batches: Any = client.beta.messages.batches if beta else client.messages.batches

    # one that is answered to its end
    openrouter.script({"text": "It is so.", "first_delay": 0.2, "times": 0})
    whole = batches.create(requests=asked(6))
    assert (whole.type, whole.processing_status) == ("message_batch", "in_progress")
    assert whole.request_counts.processing == 6
    assert whole.results_url is None
    with pytest.raises(anthropic.BadRequestError, match="before it has ended"):
        batches.delete(whole.id)
    whole = until_ended(batches, whole.id)
    assert whole.request_counts.to_dict() == {
        "processing": 0, "succeeded": 6, "errored": 0, "canceled": 0, "expired": 0
    }  # fmt: skip
    answers = {one.custom_id: one.result for one in batches.results(whole.id)}
    assert set(answers) == {f"item-{number}" for number in range(6)}
    assert {result.message.content[0].text for result in answers.values()} == {"It is so."}

    # one that is cancelled in the midst: what is under way is answered, the rest is not begun
    before = len(openrouter.requests("chat"))
    openrouter.script({"text": "It is so.", "first_delay": 1.0, "times": 0})
    cut = batches.create(requests=asked(200))
    openrouter.wait_for(before + 2 * PLACES, "chat")
    canceling = batches.cancel(cut.id)
    assert canceling.processing_status == "canceling"
    assert canceling.cancel_initiated_at is not None
    cut = until_ended(batches, cut.id)
    results = list(batches.results(cut.id))
    kinds = [one.result.type for one in results]
    assert {one.custom_id for one in results} == {f"item-{number}" for number in range(200)}
    assert len(results) == 200
    assert set(kinds) == {"succeeded", "canceled"}
    sent = len(openrouter.requests("chat")) - before
    assert kinds.count("succeeded") == cut.request_counts.succeeded == sent
    assert kinds.count("canceled") == cut.request_counts.canceled
    assert batches.cancel(cut.id) == cut

    # listed, newest first, and deleted on the way
    assert [one.id for one in batches.list(limit=1)] == [cut.id, whole.id]
    for one in batches.list(limit=1):
        deleted = batches.delete(one.id)
        assert (deleted.id, deleted.type) == (one.id, "message_batch_deleted")
    assert batches.list().data == []
    for name in (whole.id, cut.id):
        with pytest.raises(anthropic.NotFoundError):
            batches.retrieve(name)
