"""The frames between gateway and recorder.

A header of 22 bytes says a frame's length, kind, whether the run must be recorded, and whose run
it is, so that the recorder can drop a frame without parsing its body. Bodies are JSON. An end
frame repeats the start's body: a run whose start was left out can still be recorded whole. A skipped
frame counts the runs of which nothing was sent.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from express.summaries import summary_of

if TYPE_CHECKING:
    from express.runs import Run

HELLO, START, END, STATS, SKIPPED = range(1, 6)

_HEADER = Struct(">IBB16s")
BODY_LIMIT = 64 * 1024
# All that is left of an end for which there is no room, or which is no JSON.
BARE_ENDS = {
    state: orjson.dumps({"state": state}) for state in ("completed", "failed", "cancelled", "crashed")
}
# How long a text and how many items a body may keep that turned out too large, tried in turn.
_CUTS = ((2000, 200), (300, 100), (60, 30))


class Frame(NamedTuple):
    """One frame: `owner` is a run's id, or the sink's in a hello and in what was skipped."""

    kind: int
    keep: bool
    owner: bytes
    body: bytes


class FrameError(Exception):
    """What arrives is not our frames."""


def encode(kind: int, owner: bytes, body: bytes, *, keep: bool = False) -> bytes:
    return _HEADER.pack(len(body), kind, keep, owner) + body


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
            length, kind, keep, owner = _HEADER.unpack_from(data, at)
            if length > BODY_LIMIT or not HELLO <= kind <= SKIPPED:
                raise FrameError(f"a frame of kind {kind} and {length} bytes")
            end = at + head + length
            if end > size:
                break
            frames.append(Frame(kind, bool(keep), owner, data[at + head : end]))
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
