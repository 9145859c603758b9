"""The overview as people use it: in a real browser, with and without scripts, light and dark, on a phone."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from coordinators import usage
from coordinators.usage import Parcel, Sums
from coordinators.usage_store import UsageStore
from tests.e2e.gateways import Headgate
from tests.e2e.tab import Tab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.handle import FakeOpenRouter

HOSTILE = '<img src=x onerror="document.title=1">\'</section><script>document.title=2</script>'
LIVE = "document.getElementById('live').textContent.startsWith('Live')"
WIDE = "document.documentElement.scrollWidth"


def ask(gateway: Headgate, model: str, text: str, *, stream: bool = False) -> int:
    body = {
        "model": model,
        "max_tokens": 50,
        "stream": stream,
        "messages": [{"role": "user", "content": text}],
    }
    return httpx.post(f"{gateway.url}/v1/messages", json=body, timeout=60).status_code


async def use_before(data: Path) -> None:
    """Store the use of the days before, as a server would have that ran then."""
    store, today = UsageStore(f"sqlite:///{data / 'headgate.db'}"), datetime.now(UTC).date()
    models = (
        "anthropic/claude-sonnet-4", "anthropic/claude-3.7-sonnet", "openai/gpt-5", HOSTILE,
        "google/gemini-2.5-pro", "a-model-with-a-very-long-name/" + "and-no-end-" * 6, "mistral/rare",
    )  # fmt: skip
    rows = {}
    for back in range(1, 16):
        for place, model in enumerate(models):
            if (back + place) % 4 == 3:
                continue
            day = (today - timedelta(days=back)).isoformat()
            sums: Sums = [0] * usage.SIZE
            sums[usage.REQUESTS] = (7 - place) * (20 + 9 * (back % 5))
            sums[usage.ERRORS] = back % 3
            sums[usage.INPUT], sums[usage.OUTPUT] = 90_000 * (7 - place), 4_000 * (back % 6 + 1)
            sums[usage.TIMED] = sums[usage.REQUESTS] - sums[usage.ERRORS]
            sums[usage.COST], sums[usage.ESTIMATED] = 0.31 * (place + back % 4), 0.1 * (place == 2)
            sums[usage.TOOK] = sums[usage.TIMED] * (900 + 800 * place + 137 * (back % 7))
            rows[day, "anyone", model, "openrouter", ""] = sums
    try:
        await store.exchange(Parcel(1, rows, {}), [], None)
    finally:
        await store.close()


@pytest.fixture(scope="module")
def busy(openrouter_process: FakeOpenRouter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headgate]:
    """A gateway that has had requests of all kinds, some of them by people who mean no good."""
    fake, folder = openrouter_process, tmp_path_factory.mktemp("overview")
    fake.reset()
    settings = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "HEADGATE_RETRIES": "0", "HEADGATE_CACHE": "on"}
    asyncio.run(use_before(folder / "headgate" / "data"))
    with Headgate(folder / "headgate", fake.base_url, "chat", **settings) as gateway:
        for number in range(14):
            usage = {"input": 900 + 317 * number, "output": 30 + 7 * number, "cost": 0.0012 * number}
            fake.script({"text": "Fine. " * number, "usage": usage})
            model = ("big", "small", "openai/gpt-5")[number % 3]
            assert ask(gateway, model, f"question {number}", stream=number % 2 == 0) == 200
        assert ask(gateway, "big", "question 3") == 200
        assert ask(gateway, HOSTILE, "x") == 200
        fake.script({"status": 502, "message": HOSTILE}, {"status": 429, "message": "slow down"})
        assert [ask(gateway, "small", text) for text in ("fails", "waits")] == [500, 429]
        params = {"model": "small", "max_tokens": 9, "messages": [{"role": "user", "content": "in a batch"}]}
        requests = [{"custom_id": f"item-{number}", "params": params} for number in range(8)]
        batches = f"{gateway.url}/v1/messages/batches"
        name = {"x-headgate-batch-name": "%3Cb%3Ename"}
        httpx.post(batches, json={"requests": requests}, headers=name, timeout=60).raise_for_status()
        yield gateway


def picture(tab: Tab, tmp_path: Path, name: str) -> None:
    folder = Path(os.environ.get("HEADGATE_PICTURES", tmp_path))
    tab.screenshot(folder / f"overview-{name}.png")
    print(f"the overview, {name}: {folder / f'overview-{name}.png'}")


def nothing_ran(tab: Tab) -> None:
    assert tab.run("document.title") == "Headgate overview"
    assert tab.run("document.querySelectorAll('img').length") == 0
    assert tab.said == []  # neither errors nor refusals by the page's policy


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_live(busy, tmp_path, dark):
    with Tab(dark=dark) as tab:
        tab.open(f"{busy.url}/overview")
        tab.until(LIVE)
        assert ask(busy, f"openai/live-{dark}", "now") == 200
        tab.until(f"document.getElementById('requests').textContent.includes('openai/live-{dark}')")
        tab.until("document.getElementById('batches').textContent.includes('<b>name')")
        tab.until("document.getElementById('errors').textContent.includes('document.title=2')")
        tab.until("document.querySelectorAll('#days figure svg').length === 4")
        background = tab.run("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(16, 21, 27)" if dark else "rgb(246, 247, 249)")
        assert tab.run(WIDE) <= 1280
        picture(tab, tmp_path, "dark" if dark else "light")
        nothing_ran(tab)


def test_without_scripts_it_is_whole(busy, tmp_path):
    with Tab(script=False) as tab:
        tab.open(f"{busy.url}/overview")
        assert tab.run("document.querySelectorAll('#requests tbody tr').length") >= 18
        assert tab.run("document.querySelectorAll('button').length") == 0
        assert tab.run("document.getElementById('again').textContent") == "Refresh"
        assert tab.run("document.querySelectorAll('#hour svg rect').length") > 2
        assert tab.run("document.querySelectorAll('#days svg rect').length") > 100
        tab.run("document.getElementById('hour-summary').click()")  # a browser opens it by itself
        assert tab.run("document.getElementById('hour-scroll').clientHeight") > 50
        picture(tab, tmp_path, "without-scripts")
        nothing_ran(tab)


def test_on_a_phone_only_tables_scroll(busy, tmp_path):
    with Tab(390, 844) as tab:
        tab.open(f"{busy.url}/overview")
        tab.until(LIVE)
        assert tab.run(WIDE) == 390
        scrolls = "(one => one.scrollWidth > one.clientWidth)(document.getElementById('requests-scroll'))"
        assert tab.run(scrolls)
        picture(tab, tmp_path, "phone")


def test_the_keyboard_reaches_everything(busy):
    with Tab() as tab:
        tab.open(f"{busy.url}/overview")
        tab.until(LIVE)
        tab.press("Tab")
        assert tab.run("document.activeElement.className") == "skip"
        assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        tab.press("Enter")
        tab.until("document.activeElement.id === 'main'")
        tab.press("Tab")
        assert tab.run("document.activeElement.id") == "requests-scroll"
        tab.press("Tab")
        link = tab.run("document.activeElement.getAttribute('href')")
        assert link
        # what is live keeps the place of who reads by keyboard
        mark = "document.querySelector('#requests table').dataset.before = 'yes'"
        tab.run(mark)
        assert ask(busy, "openai/another", "now") == 200
        tab.until("!document.querySelector('#requests table').dataset.before")
        assert tab.run("document.activeElement.getAttribute('href')") == link


def test_a_table_that_was_opened_stays_open(busy, tmp_path):
    with Tab(dark=True) as tab:
        tab.open(f"{busy.url}/overview")
        tab.until(LIVE)
        tab.until("document.getElementById('days-summary') !== null")
        tab.run("document.getElementById('days-summary').click()")
        assert tab.run("document.querySelectorAll('#days-scroll tbody tr').length") > 50
        tab.run("document.getElementById('hour-summary').focus()")
        tab.press("Enter")
        tab.until("document.getElementById('hour-details').open")
        tab.run("document.getElementById('hour-scroll').dataset.before = 'yes'")
        assert ask(busy, "openai/once-more", "now") == 200
        tab.until("!document.getElementById('hour-scroll').dataset.before")
        assert tab.run("document.getElementById('hour-details').open")
        assert tab.run("document.activeElement.id") == "hour-summary"
        tab.press("Tab")
        assert tab.run("document.activeElement.id") == "hour-scroll"
        picture(tab, tmp_path, "tables")


def test_it_can_be_paused(busy):
    with Tab() as tab:
        tab.open(f"{busy.url}/overview")
        tab.until(LIVE)
        tab.run("document.querySelector('button').focus()")
        tab.press("Enter")
        tab.until("document.getElementById('live').textContent === 'Paused'")
        tab.press("Enter")
        tab.until(LIVE)
