"""The store of batches is opened when it is asked for, and a failure is not for ever."""

from __future__ import annotations

import asyncio

import pytest

from coordinators.batch_store import SqlBatchStore
from headgate.batch_parts import BatchStoreOpener
from headgate.settings import Settings
from tasks.batch import StoreFailed


async def test_it_is_opened_once_for_all_who_ask(tmp_path):
    opener = BatchStoreOpener(Settings(_env_file=None, data_dir=tmp_path))
    assert not list(tmp_path.iterdir())
    stores = await asyncio.gather(*(opener.store() for _ in range(5)))
    assert len({id(store) for store in stores}) == 1
    assert (tmp_path / "headgate.db").exists()
    assert await stores[0].page(None) == ([], False)
    await opener.close()
    with pytest.raises(StoreFailed):
        await stores[0].page(None)
    await opener.close()


async def test_it_is_tried_again_after_a_failure(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("in the way of the folder")
    opener = BatchStoreOpener(Settings(_env_file=None, data_dir=blocked))
    asked = await asyncio.gather(*(opener.store() for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in asked] == [StoreFailed] * 3
    blocked.unlink()
    assert isinstance(await opener.store(), SqlBatchStore)
    await opener.close()


async def test_who_leaves_does_not_stop_it_for_others(tmp_path):
    opener = BatchStoreOpener(Settings(_env_file=None, data_dir=tmp_path))
    leaving = asyncio.create_task(opener.store())
    staying = asyncio.create_task(opener.store())
    await asyncio.sleep(0)
    leaving.cancel()
    assert isinstance(await staying, SqlBatchStore)
    await opener.close()


async def test_an_address_that_is_none_is_told_without_its_secrets(tmp_path):
    opener = BatchStoreOpener(
        Settings(_env_file=None, data_dir=tmp_path, database_url="mysql://user:hidden@host/db")
    )
    with pytest.raises(StoreFailed, match="DATABASE_URL must begin with") as caught:
        await opener.store()
    assert "hidden" not in str(caught.value)
    await opener.close()
