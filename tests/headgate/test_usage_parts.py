"""What a process is made of that counts requests, without a client: as a batch's requests are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from coordinators import key_records, usage_records
from coordinators.usage_store import UsageStore
from headgate.app import Parts
from headgate.instance import Instance
from headgate.settings import Settings
from tasks.exchange import Exchange
from tests.coordinators.test_usage import stored
from wire.errors import Overloaded, PermissionDenied, RateLimited

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.handle import FakeOpenRouter

BODY = {"model": "claude-opus-4-6", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}


def item() -> Exchange:
    return Exchange("req_1", {}, orjson.dumps(BODY), dict(BODY))


async def test_requests_of_batches_are_on_the_account_of_their_tenant(
    tmp_path: Path, openrouter: FakeOpenRouter
) -> None:
    openrouter.script({"text": "x", "usage": {"input": 9, "output": 2, "cost": 0.25}})
    store = UsageStore(f"sqlite:///{tmp_path / 'headgate.db'}")
    brisk, gone = stored("hg_1", "brisk", rpm=1), stored("hg_2", "gone", revoked_at=1.0)
    for key in (brisk, gone):
        await store.write(key_records.create, key)
    settings = Settings(
        _env_file=None, openrouter_api_key="k", openrouter_base_url=openrouter.base_url,
        openrouter_wire="chat", data_dir=tmp_path, log_dir=tmp_path / "logs",
    )  # fmt: skip
    parts = Parts(settings, Instance("test", str(tmp_path), "OPENROUTER", "a test says so", runs="off"))
    await parts.usage.start()
    whole = await parts.gateway.answer_item(item(), brisk.id)
    assert whole.summary["cost_usd"] == 0.25
    with pytest.raises(RateLimited, match="'brisk' has reached its limit of 1 requests"):
        await parts.gateway.answer_item(item(), brisk.id)
    with pytest.raises(PermissionDenied, match="'gone' was revoked"):
        await parts.gateway.answer_item(item(), gone.id)
    await store.write(key_records.remove, "gone")
    for _ in range(2):
        await parts.usage._sharing._share()
        with pytest.raises(Overloaded):
            await parts.gateway.answer_item(item(), gone.id)
    await parts.usage._sharing._share()
    with pytest.raises(PermissionDenied, match="any more"):
        await parts.gateway.answer_item(item(), gone.id)
    await parts.close()
    rows = {row["tenant"]: row for row in await store.read(usage_records.report, ["tenant"])}
    assert (rows[brisk.id]["requests"], rows[brisk.id]["refused"], rows[brisk.id]["cost"]) == (1, 1, 0.25)
    assert (rows[gone.id]["requests"], rows[gone.id]["refused"]) == (0, 1)
    await store.close()
