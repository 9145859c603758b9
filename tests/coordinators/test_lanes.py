"""A lane for each key: who is picked, what cools down, and what is told when nobody is left."""

from __future__ import annotations

import time

import pytest

from coordinators import breaker
from coordinators.failing_models import MOST_MODELS
from coordinators.lanes import BackendLanes, Cooling
from coordinators.places import NoPlace, Places
from tasks.backend import NO_MODEL, Reply
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


def picked(lanes, count, model="m"):
    return [lanes.pick(model).backend.key for _ in range(count)]


def fail(lanes, error, model="m"):
    return lanes.pick(model).failed(error, model)


def states(lanes):
    return [key["state"] for key in lanes.state()["keys"]]


def test_weights_are_spread_evenly():
    assert picked(lanes_of(3, 1), 8) == ["key-1", "key-1", "key-2", "key-1"] * 2
    assert picked(lanes_of(1, 1), 4) == ["key-1", "key-2"] * 2
    assert picked(lanes_of(1), 2) == ["key-1"] * 2


def unreached(kind):
    return kind("no connection", unreached=True)


@pytest.mark.parametrize(
    ("error", "state", "shut"),
    [
        (unreached(UpstreamFailed), "open", []),
        (unreached(UpstreamTimeout), "open", []),
        (KeyRefused("x"), "open", []),
        (BillingRequired("x"), "open", []),
        (UpstreamFailed("x"), "closed", ["m"]),
        (UpstreamTimeout("x"), "closed", ["m"]),
        (Overloaded("x"), "closed", ["m"]),
        (RateLimited("x"), "closed", []),
        (NoPlace("x"), "closed", []),
        (InvalidRequest("x"), "closed", []),
        (PermissionDenied("x"), "closed", []),
        (NotFound("x"), "closed", []),
        (Conflict("x"), "closed", []),
    ],
)
def test_what_shuts_the_only_lane_and_what_a_model_on_it(error, state, shut):
    lanes = lanes_of(1)
    for _ in range(3):
        assert fail(lanes, error) is False
    assert states(lanes) == [state]
    assert lanes.state()["models_shut"] == shut


def test_a_model_that_fails_leaves_the_others_alone():
    lanes = lanes_of(1, seconds=600)
    for _ in range(3):
        fail(lanes, Overloaded("busy"), "some/broken")
    with pytest.raises(Overloaded, match=r"some/broken failed .* at stub \(Overloaded\)") as shut:
        lanes.pick("some/broken")
    assert shut.value.retry_after == 60
    assert picked(lanes, 1, "openai/gpt-5") == ["key-1"]
    assert lanes.load()["models_shut"] == 1
    assert lanes.state()["keys"][0]["last_error"] == "Overloaded"


def test_a_model_is_tried_again_and_closed_by_its_own_answer():
    lanes = lanes_of(1, after=1, seconds=0)
    fail(lanes, UpstreamFailed("x"))
    lanes.pick("other").succeeded("other")
    assert lanes._lanes[0].failing["m"].state == "half_open"
    lanes.pick("m").succeeded("m")
    assert lanes._lanes[0].failing == {}


def test_only_one_call_tries_a_model_again(monkeypatch):
    lanes = lanes_of(1, after=1, seconds=10)
    fail(lanes, UpstreamFailed("x"))
    later = time.monotonic() + 11
    monkeypatch.setattr(breaker.time, "monotonic", lambda: later)
    lanes.pick("m")
    with pytest.raises(Overloaded):
        lanes.pick("m")


def test_an_answer_about_a_model_says_that_the_backend_is_there_again():
    lanes = lanes_of(1, after=1, seconds=0)
    fail(lanes, unreached(UpstreamFailed))
    assert states(lanes) == ["half_open"]
    fail(lanes, Overloaded("busy"))
    assert states(lanes) == ["closed"]
    fail(lanes, KeyRefused("no"))
    fail(lanes, Overloaded("busy"))
    assert states(lanes) == ["half_open"]  # that it is busy does not mean that it took the key


def test_a_call_that_asks_no_model_says_nothing_of_any():
    lanes = lanes_of(1, after=1)
    fail(lanes, UpstreamFailed("x"), NO_MODEL)
    assert picked(lanes, 1, NO_MODEL) == ["key-1"]
    fail(lanes, UpstreamFailed("x"))
    lanes.pick(NO_MODEL).succeeded(NO_MODEL)
    assert lanes.models_shut() == ["m"]


def test_few_models_are_remembered_and_no_long_names():
    lanes = lanes_of(1, after=1)
    for number in range(MOST_MODELS + 5):
        fail(lanes, UpstreamFailed("x"), f"model-{number:03}")
    fail(lanes, UpstreamFailed("x"), "long" * 100)
    assert lanes.models_shut() == [f"model-{number:03}" for number in range(5, MOST_MODELS + 5)]


def test_changes_are_told_with_the_model_they_are_about():
    told = []
    lanes = lanes_of(1, after=1, seconds=0)
    lanes.on_change = lambda changed, model: told.append((changed.name, model))
    fail(lanes, UpstreamFailed("x"))
    lanes.pick("m").succeeded("m")
    fail(lanes, unreached(UpstreamFailed))
    lanes.pick("m").succeeded("m")
    assert told == [("stub", "m"), ("stub", "m"), ("stub", NO_MODEL), ("stub", NO_MODEL)]


@pytest.mark.parametrize("error", [KeyRefused("x"), BillingRequired("x")])
def test_a_refused_key_hands_over_at_once(error):
    lanes = lanes_of(1, 1)
    assert fail(lanes, error) is True
    assert states(lanes) == ["open", "closed"]
    assert picked(lanes, 3) == ["key-2"] * 3
    assert fail(lanes, error) is False  # nobody is left


def test_a_key_at_its_limit_hands_over_at_once_for_that_model():
    lanes = lanes_of(1, 1)
    assert fail(lanes, RateLimited("x", retry_after=5)) is True
    assert states(lanes) == ["closed", "closed"]
    assert picked(lanes, 3) == ["key-2"] * 3
    assert fail(lanes, RateLimited("x", retry_after=5)) is False
    assert lanes.models_shut() == ["m"]
    assert sorted(picked(lanes, 2, "other")) == ["key-1", "key-2"]


@pytest.mark.parametrize("error", [KeyRefused("x"), RateLimited("x")])
def test_nobody_hands_over_where_nothing_ever_cools_down(error):
    assert fail(lanes_of(1, 1, after=0), error) is False  # both would be picked without end


def test_a_failing_model_hands_over_only_after_its_retries():
    lanes = lanes_of(1, 1)
    assert fail(lanes, UpstreamFailed("x")) is False
    assert states(lanes) == ["closed", "closed"]
    assert lanes.models_shut() == []


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (UpstreamTimeout("slow"), Overloaded, "UpstreamTimeout"),
        (unreached(UpstreamFailed), Overloaded, "^stub failed again and again .UpstreamFailed"),
        (KeyRefused("THE_KEY was refused"), KeyRefused, "THE_KEY was refused"),
        (BillingRequired("no credit"), BillingRequired, "no credit"),
    ],
)
def test_what_is_told_when_every_lane_is_shut(error, kind, words):
    lanes = lanes_of(1, after=1, seconds=600)
    fail(lanes, error)
    with pytest.raises(kind, match=words) as shut:
        lanes.pick("m")
    assert shut.value.retry_after == 60  # Claude Code gives up at 61
    assert shut.value.retryable is False


def test_the_soonest_lane_says_when():
    lanes = lanes_of(1, 1)
    fail(lanes, RateLimited("x", retry_after=9))
    fail(lanes, RateLimited("x", retry_after=4))
    with pytest.raises(Overloaded) as shut:
        lanes.pick("m")
    assert shut.value.retry_after == 4


def test_success_closes():
    lanes = lanes_of(1, after=2)
    for _ in range(5):
        fail(lanes, UpstreamFailed("x"))
        lanes.pick("m").succeeded("m")
    assert states(lanes) == ["closed"]
    assert lanes.models_shut() == []


async def test_a_list_is_fetched_even_when_all_are_shut():
    lanes = lanes_of(1, after=1)
    fail(lanes, unreached(UpstreamFailed))
    assert (await lanes.list_models(1)).body == b"key-1"


async def test_a_place_is_taken_and_given_back():
    lanes = lanes_of(1, places=Places("stub", limit=1))
    for _ in range(3):
        assert (await lanes.pick("m").send(None)).status == 200
    assert lanes.state()["running"] == 0
    lanes.places.running = 1
    with pytest.raises(NoPlace, match="stub has all the requests"):
        await lanes.pick("m").send(None)


def test_the_state_names_no_key():
    lanes = lanes_of(2, 1)
    fail(lanes, KeyRefused("refused"))
    told = lanes.state()
    assert told["state"] == "closed"
    assert [key["weight"] for key in told["keys"]] == [2, 1]
    assert told["keys"][0]["last_error"] == "KeyRefused"
    assert told["keys"][1]["last_error_at"] is None
    assert "key-1" not in str(told)
