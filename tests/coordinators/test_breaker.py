"""What fails again and again is left alone, then tried once."""

from __future__ import annotations

import pytest

from coordinators import breaker as module
from coordinators.breaker import Breaker


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

        def time(self):
            return 1_700_000_000.0 + self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_it_opens_after_failures_in_a_row(clock):
    breaker = Breaker(after=3, seconds=10)
    for _ in range(2):
        breaker.fail("UpstreamFailed")
    breaker.succeed()
    for _ in range(2):
        breaker.fail("UpstreamFailed")
    assert (breaker.state, breaker.admits()) == ("closed", True)
    breaker.fail("UpstreamTimeout")
    assert (breaker.state, breaker.admits(), breaker.remaining) == ("open", False, 10)
    assert (breaker.last_error, breaker.failed_at) == ("UpstreamTimeout", 1_700_000_100.0)


@pytest.mark.parametrize(("good", "state"), [(True, "closed"), (False, "open")])
def test_half_open_admits_one_and_obeys_it(clock, good, state):
    breaker = Breaker(after=1, seconds=10)
    breaker.fail("UpstreamFailed")
    clock.now += 10
    assert (breaker.state, breaker.admits()) == ("half_open", True)
    breaker.enter()
    assert not breaker.admits()
    breaker.succeed() if good else breaker.fail("UpstreamFailed")
    assert breaker.state == state
    assert breaker.admits() is good


def test_a_trial_that_never_ends_costs_one_pause(clock):
    breaker = Breaker(after=1, seconds=10)
    breaker.fail("UpstreamFailed")
    clock.now += 10
    breaker.enter()
    clock.now += 9
    assert not breaker.admits()
    clock.now += 1
    assert breaker.admits()


def test_at_once_and_for_as_long_as_was_asked(clock):
    breaker = Breaker(after=5, seconds=10)
    breaker.fail("RateLimited", at_once=True, seconds=3)
    assert breaker.remaining == 3
    clock.now += 3
    assert breaker.admits()


def test_zero_never_opens(clock):
    breaker = Breaker(after=0, seconds=10)
    for _ in range(50):
        breaker.fail("UpstreamFailed", at_once=True)
    assert (breaker.state, breaker.admits(), breaker.remaining) == ("closed", True, 0.0)
