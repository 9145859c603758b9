"""Places at a backend: first come, first served, and none is lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from coordinators.places import NoPlace, Places


async def enter(places):
    if places.free:
        places.running += 1
    else:
        await places.wait()


async def test_without_a_limit_everybody_runs():
    places = Places("x")
    for _ in range(100):
        await enter(places)
    assert (places.running, places.waiting) == (100, 0)


async def test_first_come_first_served_and_the_rest_refused():
    places = Places("x", limit=1, queue=2)
    await enter(places)
    order = []

    async def come(name):
        await enter(places)
        order.append(name)
        places.leave()

    tasks = [asyncio.create_task(come(name)) for name in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(NoPlace) as refused:
        await enter(places)
    assert refused.value.retry_after == 1
    places.leave()
    await asyncio.gather(*tasks)
    assert order == ["a", "b"]
    assert (places.running, places.waiting) == (0, 0)


async def test_who_leaves_the_queue_frees_it():
    places = Places("x", limit=1, queue=1)
    await enter(places)
    waiting = asyncio.create_task(enter(places))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert places.waiting == 0
    places.leave()
    assert places.running == 0


async def test_a_place_that_comes_as_its_taker_leaves_goes_on():
    places = Places("x", limit=1, queue=2)
    await enter(places)
    first, second = (asyncio.create_task(enter(places)) for _ in range(2))
    await asyncio.sleep(0)
    places.leave()  # the place is the first one's, who is cancelled before it knows
    first.cancel()
    await second
    assert first.cancelled()
    assert (places.running, places.waiting) == (1, 0)


async def test_the_count_holds_whatever_comes():
    places = Places("x", limit=3, queue=5)
    most = 0
    chance = random.Random(7)

    async def come():
        nonlocal most
        try:
            await enter(places)
        except NoPlace:
            return
        try:
            most = max(most, places.running)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        finally:
            places.leave()

    tasks = []
    for _ in range(400):
        tasks.append(asyncio.create_task(come()))
        if chance.random() < 0.4:
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 3
    assert (places.running, places.waiting) == (0, 0)


async def test_who_leaves_as_a_place_comes_free_is_passed_over():
    places = Places("x", limit=1, queue=2)
    await enter(places)
    first, second = (asyncio.create_task(enter(places)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    places.leave()  # before the first has heard that it is cancelled
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert (places.running, places.waiting) == (1, 0)
