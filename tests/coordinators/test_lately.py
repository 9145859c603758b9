"""What requests did lately, read from a real log that is rotated by several writers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from coordinators.lately import MINUTES, ROWS, Lately, RequestTail
from coordinators.line_files import LineFile, Rotation, set_aside
from coordinators.overview_charts import hour_charts
from coordinators.overview_words import dollars


def line(number: int = 0, back: float = 0, **facts: object) -> bytes:
    at = (datetime.now(UTC) - timedelta(minutes=back)).isoformat(timespec="milliseconds")
    usual = {
        "id": f"req_{number}",
        "flow": "messages",
        "model": "m",
        "backend": "b",
        "status": 200,
        "ms": 10.0,
    }
    return orjson.dumps({"time": at, **usual, **facts})


@pytest.fixture
def log(tmp_path):
    file = LineFile(tmp_path / "requests.jsonl", Rotation(size=4096, keep=9))
    yield file
    file.close()


def test_every_line_is_read_once_through_rotations(log):
    tail, read = RequestTail(log.path), []
    for number in range(120):
        log.add(line(number))  # no event loop: written at once
        if number % 7 == 0:
            read += tail.take()
    read += tail.take()
    assert len(set_aside(log.path)) > 1
    assert [one["id"] for one in read] == [f"req_{number}" for number in range(120)]
    assert tail.take() == []


def test_the_first_look_is_bounded_and_begins_with_a_whole_line(log):
    for number in range(10):
        log.add(line(number))
    size = log.path.stat().st_size
    read = RequestTail(log.path, most=size // 2).take()
    assert [one["id"] for one in read] == [f"req_{number}" for number in range(5, 10)]


def test_after_a_long_time_only_the_end_is_read(log):
    log.add(line(0))
    size = log.path.stat().st_size
    tail = RequestTail(log.path, most=5 * size + size // 2)
    assert len(tail.take()) == 1
    for number in range(1, 10):
        log.add(line(number))
    assert [one["id"] for one in tail.take()] == [f"req_{number}" for number in range(5, 10)]
    log.add(line(10))
    assert [one["id"] for one in tail.take()] == ["req_10"]


def test_who_asks_while_another_thread_refreshes_gets_copies(log):
    class Row(dict):
        def get(self, *name):
            lately.rows.append({})  # as the other thread may at any time
            return super().get(*name)

    log.add(line(1, cost_usd=0.5))
    lately = Lately(RequestTail(log.path))
    lately.refresh()
    before = [minute for _, minute in lately.minutes()]
    log.add(line(2, cost_usd=0.5))
    lately.refresh()
    assert sum(minute.requests for minute in before) == 1
    assert [(minute.times, minute.costs) for minute in before if minute.requests] == [([10.0], {"m": 0.5})]
    lately.rows.append(Row(status=200, backend="b", ms=10.0))
    assert lately.latencies() == {"b": 10.0}


def test_the_first_look_goes_into_the_file_before(log):
    number = 0
    while not set_aside(log.path):
        log.add(line(number))
        number += 1
    assert [one["id"] for one in RequestTail(log.path).take()] == [f"req_{one}" for one in range(number)]


def test_torn_and_foreign_lines_are_passed_over(log):
    log.path.write_bytes(b'{"time": "torn\n[1]\n{"time": 3}\nnull\n' + line(7) + b"\n" + line(8)[:20])
    tail = RequestTail(log.path)
    assert [one["id"] for one in tail.take()] == ["req_7"]
    with log.path.open("ab") as file:
        file.write(line(8)[20:] + b"\n")
    assert [one["id"] for one in tail.take()] == ["req_8"]


def test_there_may_be_no_log_yet(log):
    tail = RequestTail(log.path)
    assert tail.take() == []
    log.add(line(1))
    assert [one["id"] for one in tail.take()] == ["req_1"]


def test_sums_by_the_minute(log):
    log.add(line(0, 90))  # too long ago
    log.add(line(1, 30, input_tokens=5, cache_read_input_tokens=100, output_tokens=7, cost_usd=0.5))
    log.add(line(2, 30, status=502, error_hash="a" * 12))
    log.add(line(3, 30, cache="hit", input_tokens=5, cost_usd=0.5))
    log.add(line(4, 30, flow="count_tokens", input_tokens=900))
    log.add(line(5, 30, input_tokens="many", cost_usd=None, ms=None, model=None))
    lately = Lately(RequestTail(log.path))
    lately.refresh()
    minutes = lately.minutes()
    assert len(minutes) == MINUTES
    (there,) = [minute for _, minute in minutes if minute.requests]
    assert (there.requests, there.failed) == (5, 1)
    assert (there.input_tokens, there.output_tokens, there.costs) == (105, 7, {"m": 0.5})
    assert len(lately.rows) == 6
    assert lately.latencies() == {"b": 10.0}


def test_what_is_kept_is_bounded(tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_bytes(
        b"".join(line(number, model=f"model-{number}", cost_usd=1.0) + b"\n" for number in range(120))
    )
    lately = Lately(RequestTail(path))
    lately.refresh()
    assert len(lately.rows) == ROWS
    costs = [minute.costs for _, minute in lately.minutes() if minute.costs]
    assert all(len(one) <= 13 for one in costs)
    assert "others" in costs[-1]


def test_charts_stay_in_their_frame(log):
    log.add(line(1, 2, ms=1e7, input_tokens=10**9, cost_usd=1e-5))
    log.add(line(2, 1, ms=0.01, output_tokens=1, status=500))
    lately = Lately(RequestTail(log.path))
    for _ in range(2):
        drawn = hour_charts(lately.minutes())
        for chart in drawn:
            for bar in chart.get("bars", ()):
                assert 0 <= bar["y"] <= bar["y"] + bar["h"] <= chart["height"]
            for dot in chart.get("dots", ()):
                assert 0 <= dot["y"] <= chart["height"]
                assert chart["left"] <= dot["x"] <= chart["width"]
        lately.refresh()
    assert [len(chart.get("bars", ())) for chart in drawn] == [2, 0, 2, 0]
    assert drawn[3]["rows"] == [{"name": "m", "cost": "$0.000010", "w": 100.0}]


def test_dollars():
    assert [dollars(cost) for cost in (0, 12.345, 0.25, 0.00042)] == [
        "$0.00",
        "$12.35",
        "$0.2500",
        "$0.000420",
    ]
