"""The frames between gateway and recorder.

A header of 22 bytes says a frame's length, kind, whether the run must be recorded, and whose run
it is, so that the recorder can drop a frame without parsing its body. Bodies are JSON. An end
frame repeats the start's body: a run whose start was left out can still be recorded whole. A skipped
frame counts the runs of which nothing was sent. An ack lists the runs that the recorder is done with: what it
does not list is sent again to the next recorder, marked so.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from express.summaries import summary_of

if TYPE_CHECKING:
    from express.runs import Run

HELLO, START, END, STATS, SKIPPED, ACK = range(1, 7)

_HEADER = Struct(">IBB16s")
BODY_LIMIT = 64 * 1024
IDS_LIMIT = 8000  # of a hello's or an ack's runs
_LIMITS = {HELLO: IDS_LIMIT * 16, ACK: IDS_LIMIT * 16}
_KEEP, _AGAIN = 1, 2
# All that is left of an end for which there is no room, or which is no JSON.
BARE_ENDS = {
    state: orjson.dumps({"state": state}) for state in ("completed", "failed", "cancelled", "crashed")
}
# How long a text and how many items a body may keep that turned out too large, tried in turn.
_CUTS = ((2000, 200), (300, 100), (60, 30))


class Frame(NamedTuple):
    """One frame: `owner` is a run's id, or the sink's in a hello, an ack and in what was skipped.

    `again` says that a recorder may have told Prefect of it already.
    """

    kind: int
    keep: bool
    owner: bytes
    body: bytes
    again: bool = False


class FrameError(Exception):
    """What arrives is not our frames."""


def encode(kind: int, owner: bytes, body: bytes, *, keep: bool = False) -> bytes:
    return _HEADER.pack(len(body), kind, keep, owner) + body


def again(frame: bytes) -> bytes:
    """Mark an encoded frame as one that was sent before."""
    return frame[:5] + bytes((frame[5] | _AGAIN,)) + frame[6:]


def ids(body: bytes) -> list[bytes]:
    """Give the runs that a hello or an ack lists."""
    return [body[at : at + 16] for at in range(0, len(body), 16)]


class FrameDecoder:
    """Bytes in, frames out, wherever the bytes are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Give the frames that `data` completes."""
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        at, size, head = 0, len(data), _HEADER.size
        while size - at >= head:
            length, kind, flags, owner = _HEADER.unpack_from(data, at)
            if length > _LIMITS.get(kind, BODY_LIMIT) or not HELLO <= kind <= ACK:
                raise FrameError(f"a frame of kind {kind} and {length} bytes")
            end = at + head + length
            if end > size:
                break
            body = data[at + head : end]
            frames.append(Frame(kind, bool(flags & _KEEP), owner, body, bool(flags & _AGAIN)))
            at = end
        self._rest = data[at:]
        return frames


def start_body(run: Run) -> bytes:
    """Encode what is known of a run when it starts."""
    return _bounded(_described(run))


def end_body(run: Run) -> bytes:
    """Encode all of a finished run."""
    document = _described(run)
    document["end"] = run.end
    document["state"] = run.state
    document["error"] = run.error
    document["steps"] = [(s.name, s.start, s.end, s.state, s.error, s.inputs) for s in run.steps]
    document["summary"] = run.summary
    document["logs"] = run.logs
    if run.artifact is not None:
        document["artifact"] = run.artifact
    return _bounded(document)


def _described(run: Run) -> dict[str, Any]:
    return {
        "pipeline": run.pipeline_name,
        "name": run.name,
        "tags": run.tags,
        "parameters": run.parameters,
        "start": run.start,
    }


def _json(document: dict[str, Any]) -> bytes:
    # orjson would write a dataclass out, prompts and all
    return orjson.dumps(document, default=summary_of, option=orjson.OPT_PASSTHROUGH_DATACLASS)


def _bounded(document: dict[str, Any]) -> bytes:
    """Encode within the limit: cut long texts and lists, and say so among the parameters."""
    body = _json(document)
    if len(body) <= BODY_LIMIT:
        return body
    for text, items in _CUTS:
        document = _cut(orjson.loads(body), text, items)
        document["parameters"]["note"] = "cut to fit the recorder's frame"
        body = _json(document)
        if len(body) <= BODY_LIMIT:
            return body
    return _json({**document, "tags": [], "parameters": {}, "summary": {}, "logs": [], "steps": []})


def _cut(value: Any, text: int, items: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= text else value[:text] + "…"
    if isinstance(value, list):
        return [_cut(item, text, items) for item in value[:items]]
    if isinstance(value, dict):
        return {key[:text]: _cut(item, text, items) for key, item in list(value.items())[:items]}
    return value
