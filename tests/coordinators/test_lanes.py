"""A lane for each key: who is picked, what cools down, and what is told when nobody is left."""

from __future__ import annotations

import pytest

from coordinators.lanes import BackendLanes, Cooling
from coordinators.places import NoPlace, Places
from tasks.backend import Reply
from wire.errors import (
    BillingRequired,
    Conflict,
    InvalidRequest,
    KeyRefused,
    NotFound,
    Overloaded,
    PermissionDenied,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
)


class Stub:
    """A backend that answers at once."""

    name = "stub"
    base_url = "http://stub"

    def __init__(self, key):
        self.key = key

    async def send(self, outgoing):
        return Reply(200, {}, self.key.encode())

    async def list_models(self, seconds):
        return Reply(200, {}, self.key.encode())


def lanes_of(*weights, after=3, seconds=60, places=None):
    backends = [(Stub(f"key-{number}"), weight) for number, weight in enumerate(weights, 1)]
    return BackendLanes(backends, cooling=Cooling(after, seconds), places=places)


def picked(lanes, count):
    return [lanes.pick().backend.key for _ in range(count)]


def states(lanes):
    return [key["state"] for key in lanes.state()["keys"]]


def test_weights_are_spread_evenly():
    assert picked(lanes_of(3, 1), 8) == ["key-1", "key-1", "key-2", "key-1"] * 2
    assert picked(lanes_of(1, 1), 4) == ["key-1", "key-2"] * 2
    assert picked(lanes_of(1), 2) == ["key-1"] * 2


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (UpstreamFailed("x"), "open"),
        (UpstreamTimeout("x"), "open"),
        (Overloaded("x"), "open"),
        (KeyRefused("x"), "open"),
        (BillingRequired("x"), "open"),
        (RateLimited("x"), "closed"),
        (NoPlace("x"), "closed"),
        (InvalidRequest("x"), "closed"),
        (PermissionDenied("x"), "closed"),
        (NotFound("x"), "closed"),
        (Conflict("x"), "closed"),
    ],
)
def test_what_opens_the_only_lane(error, state):
    lanes = lanes_of(1)
    for _ in range(3):
        assert lanes.pick().failed(error) is False
    assert states(lanes) == [state]


@pytest.mark.parametrize("error", [KeyRefused("x"), BillingRequired("x"), RateLimited("x", retry_after=5)])
def test_a_refused_key_hands_over_at_once(error):
    lanes = lanes_of(1, 1)
    assert lanes.pick().failed(error) is True
    assert states(lanes) == ["open", "closed"]
    assert picked(lanes, 3) == ["key-2"] * 3
    assert lanes.pick().failed(error) is False  # nobody is left


def test_a_failing_backend_hands_over_only_after_its_retries():
    lanes = lanes_of(1, 1)
    assert lanes.pick().failed(UpstreamFailed("x")) is False
    assert states(lanes) == ["closed", "closed"]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (UpstreamTimeout("slow"), Overloaded, "UpstreamTimeout"),
        (KeyRefused("THE_KEY was refused"), KeyRefused, "THE_KEY was refused"),
        (BillingRequired("no credit"), BillingRequired, "no credit"),
    ],
)
def test_what_is_told_when_every_lane_is_shut(error, kind, words):
    lanes = lanes_of(1, after=1, seconds=600)
    lanes.pick().failed(error)
    with pytest.raises(kind, match=words) as shut:
        lanes.pick()
    assert shut.value.retry_after == 60  # Claude Code gives up at 61
    assert shut.value.retryable is False


def test_the_soonest_lane_says_when():
    lanes = lanes_of(1, 1)
    lanes.pick().failed(RateLimited("x", retry_after=9))
    lanes.pick().failed(RateLimited("x", retry_after=4))
    with pytest.raises(Overloaded) as shut:
        lanes.pick()
    assert shut.value.retry_after == 4


def test_success_closes():
    lanes = lanes_of(1, after=2)
    for _ in range(5):
        lanes.pick().failed(UpstreamFailed("x"))
        lanes.pick().succeeded()
    assert states(lanes) == ["closed"]


async def test_a_list_is_fetched_even_when_all_are_shut():
    lanes = lanes_of(1, after=1)
    lanes.pick().failed(UpstreamFailed("x"))
    assert (await lanes.list_models(1)).body == b"key-1"


async def test_a_place_is_taken_and_given_back():
    lanes = lanes_of(1, places=Places("stub", limit=1))
    for _ in range(3):
        assert (await lanes.pick().send(None)).status == 200
    assert lanes.state()["running"] == 0
    lanes.places.running = 1
    with pytest.raises(NoPlace, match="stub has all the requests"):
        await lanes.pick().send(None)


def test_the_state_names_no_key():
    lanes = lanes_of(2, 1)
    lanes.pick().failed(KeyRefused("refused"))
    told = lanes.state()
    assert told["state"] == "closed"
    assert [key["weight"] for key in told["keys"]] == [2, 1]
    assert told["keys"][0]["last_error"] == "KeyRefused"
    assert told["keys"][1]["last_error_at"] is None
    assert "key-1" not in str(told)
