"""Schedules are looked at again and again, whatever fails, for the tenant of this machine's commands."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from coordinators.keys import ANYONE, ClientKeys
from headgate import scheduling
from headgate.cli import app
from headgate.scheduling import follow, scheduled_batches, tenant_of
from headgate.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_look_that_fails_is_followed_by_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scheduling, "LOOK", 0.001)
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    class Looked:
        times = 0

        async def run_due(self) -> int:
            self.times += 1
            if self.times == 5:
                ended.set_result(b"")
            if self.times in {1, 2, 4}:
                raise OSError("nobody listens")
            return 0

    looked: Any = Looked()
    await follow(looked, ended)
    assert looked.times == 5
    assert capsys.readouterr().out.count("schedules not seen") == 1  # but not while it had yet to come up


def test_the_batches_are_those_of_this_machines_commands(tmp_path: Path) -> None:
    given: dict[str, Any] = {"data_dir": tmp_path, "_env_file": None}
    assert tenant_of(Settings(**given)) == ANYONE
    assert tenant_of(Settings(client_key="mine", **given)) == ANYONE  # as no key is asked for
    keyed = Settings(api_keys="one,two", **given)
    keys = ClientKeys(["one", "two"])
    assert tenant_of(keyed) == keys.check({"x-api-key": "one"})
    assert tenant_of(keyed.model_copy(update={"client_key": SecretStr("two")})) == keys.check(
        {"x-api-key": "two"}
    )
    assert scheduled_batches(keyed).busy is False


@pytest.mark.usefixtures("nothing_set")
def test_a_key_of_the_store_has_its_own_batches(tmp_path: Path) -> None:
    made = CliRunner().invoke(
        app, ["keys", "create", "k", "--json"], env={"HEADGATE_DATA_DIR": str(tmp_path)}
    )
    told = json.loads(made.stdout)
    assert tenant_of(Settings(client_key=told["key"], data_dir=tmp_path, _env_file=None)) == told["id"]
    assert tenant_of(Settings(data_dir=tmp_path, _env_file=None)) == ANYONE  # none is presented
