"""What the supervisor tells of its processes."""

from __future__ import annotations

import asyncio

from headgate import supervisor
from headgate.instance import Instance
from headgate.settings import Settings


class EndsOnce:
    """A Prefect server that ends by itself as soon as it is up, and after its second start no more."""

    url, ui_url, running, pid = "http://127.0.0.1:1/api", "http://127.0.0.1:1", True, 77

    def __init__(self):
        self.starts = 0

    async def ready(self):
        return True

    async def wait(self):
        if self.starts:
            await asyncio.Event().wait()

    async def start(self):
        self.starts += 1


async def test_prefect_tells_how_often_it_was_started_again(tmp_path):
    kept = supervisor.Supervisor(
        Settings(HEADGATE_DATA_DIR=str(tmp_path)), with_prefect=True, announce=lambda _: None
    )
    kept._prefect = prefect = EndsOnce()
    assert kept._states()["prefect"] == {
        "state": "running",
        "pid": 77,
        "restarts": 0,
        "ui_url": prefect.ui_url,
    }
    keeping = asyncio.create_task(kept._keep_prefect(Instance("i", "", "", "", prefect_api_url=prefect.url)))
    while not prefect.starts:
        await asyncio.sleep(0.05)
    keeping.cancel()
    assert kept._states()["prefect"]["restarts"] == 1
