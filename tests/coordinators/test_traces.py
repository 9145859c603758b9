"""What becomes of traces between a request's end and the collector, without a server."""

from __future__ import annotations

import threading

import pytest

from coordinators import traces as module
from coordinators.traces import Parent, Sender, Traces, parent_of
from tests.coordinators.test_metrics import ending

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "parent"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(int(TRACE, 16), int(SPAN, 16), sampled=True)),
        (f"00-{TRACE}-{SPAN}-00", Parent(int(TRACE, 16), int(SPAN, 16), sampled=False)),
        (f" 00-{TRACE}-{SPAN}-03 ", Parent(int(TRACE, 16), int(SPAN, 16), sampled=True)),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", Parent(int(TRACE, 16), int(SPAN, 16), sampled=True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE[:-1]}-{SPAN}-01", None),
        ("", None),
        (None, None),
    ],
)
def test_traceparent_is_read_as_w3c_says(header, parent):
    assert parent_of(header) == parent


class Taking(Sender):
    """Takes traces once it is let go; keeps their numbers."""

    def __init__(self, *, takes=True):
        self.gate = threading.Event()
        self.taken = []
        self.takes = takes
        self.closed = False

    def send(self, traces):
        self.gate.wait(20)
        self.taken += [trace.request_id for trace in traces]
        return self.takes

    def close(self):
        self.closed = True
        self.gate.set()


async def test_more_than_the_rate_are_left_out_and_failures_have_a_rate_of_their_own():
    sender = Taking()
    traces = Traces(lambda: sender, rate=1)
    for _ in range(100):
        traces.ended(ending())
    assert traces.sampled_out >= 90
    left_out = traces.sampled_out
    traces.ended(ending(status=529))
    assert traces.sampled_out == left_out
    sender.gate.set()
    await traces.close()
    assert traces.sent == len(sender.taken) == 101 - left_out
    assert sender.closed


async def test_the_queue_is_bounded_while_the_collector_is_slow(monkeypatch):
    monkeypatch.setattr(module, "QUEUE", 5)
    sender = Taking()
    traces = Traces(lambda: sender, rate=1e6)
    for _ in range(200):
        traces.ended(ending())
    assert traces.queued <= 5
    assert traces.dropped >= 200 - 5 - module.BATCH
    sender.gate.set()
    await traces.close()
    assert traces.sent + traces.dropped == 200


async def test_what_no_collector_takes_is_counted_as_lost():
    sender = Taking(takes=False)
    sender.gate.set()
    traces = Traces(lambda: sender, rate=100)
    traces.ended(ending())
    await traces.close()
    assert (traces.sent, traces.dropped) == (0, 1)


async def test_a_sender_that_cannot_be_made_turns_traces_off():
    def make():
        raise ImportError("no SDK")

    traces = Traces(make, rate=100)
    traces.ended(ending())
    await traces.close()
    traces.ended(ending())
    assert (traces.sent, traces.dropped, traces.queued) == (0, 2, 0)


async def test_a_trace_holds_no_body():
    sender = Taking()
    traces = Traces(lambda: sender, rate=100)
    one = ending(body={"messages": [{"role": "user", "content": "private"}], "max_tokens": 5, "top_p": "odd"})
    trace = module.trace_of(one, None)
    assert trace.told == {"max_tokens": 5}
    assert "private" not in repr(trace)
    assert one.exchange not in trace
    await traces.close()
