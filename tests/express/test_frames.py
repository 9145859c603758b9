from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from express import Run
from express.recorder import frames


@dataclass
class Secret:
    prompt: str = "a prompt"


def ended(**summary: Any) -> Run:
    run = Run("messages", name="messages-1", tags=["a"], parameters={"bytes": 3, "who": Secret()})
    run.open_step("convert").close()
    run.finish("failed", error=ValueError(), summary=summary, logs=["a line"])
    return run


def test_frames_come_out_whole_wherever_they_are_cut() -> None:
    sent = [
        frames.Frame(frames.HELLO, False, b"s" * 16, b""),
        frames.Frame(frames.START, True, b"r" * 16, b"x" * 300),
        frames.Frame(frames.END, False, b"r" * 16, b"{}"),
    ]
    data = b"".join(frames.encode(f.kind, f.owner, f.body, keep=f.keep) for f in sent)
    for size in (1, 7, 22, 23, 100, len(data)):
        decoder = frames.FrameDecoder()
        got = [f for at in range(0, len(data), size) for f in decoder.feed(data[at : at + size])]
        assert got == sent


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        frames.encode(9, bytes(16), b""),
        frames.encode(frames.END, bytes(16), b"x" * (frames.BODY_LIMIT + 1)),
    ],
)
def test_what_is_no_frame_is_told(data: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.FrameDecoder().feed(data)


def test_an_end_says_all_that_a_start_does_and_more() -> None:
    run = ended(tokens=1)
    start, end = orjson.loads(frames.start_body(run)), orjson.loads(frames.end_body(run))
    assert start == {
        "pipeline": "messages",
        "name": "messages-1",
        "tags": ["a"],
        "parameters": {"bytes": 3, "who": "Secret"},
        "start": run.start,
    }
    assert {**start, **end} == end
    (step,) = run.steps
    assert end["steps"] == [["convert-0", step.start, step.end, "completed", None, []]]
    assert (end["state"], end["error"], end["summary"]) == ("failed", "ValueError", {"tokens": 1})
    assert [line[1:] for line in end["logs"]] == [[20, "a line"]]


def test_a_body_too_large_is_cut_and_says_so() -> None:
    run = ended(text="y" * 100_000, many=list(range(9000)), deep={"k" * 9: "z" * 90_000})
    body = frames.end_body(run)
    assert len(body) <= frames.BODY_LIMIT
    document = orjson.loads(body)
    assert document["parameters"]["note"] == "cut to fit the recorder's frame"
    assert document["summary"]["text"] == "y" * 2000 + "…"
    assert len(document["summary"]["many"]) == 200
    assert [s[0] for s in document["steps"]] == ["convert-0"]


def test_a_body_that_stays_too_large_keeps_its_state_at_least() -> None:
    run = ended(tree=[[["w" * 100] * 30] * 30] * 30)
    document = orjson.loads(frames.end_body(run))
    assert (document["name"], document["state"], document["summary"]) == ("messages-1", "failed", {})
