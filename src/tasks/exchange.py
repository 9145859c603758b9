"""What enters the gateway and what leaves it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tasks.backend import Target
    from tasks.cache import CacheUse
    from tasks.live_stream import Live
    from wire.errors import UnsupportedContent
    from wire.messages import Json

Format: TypeAlias = Literal["anthropic", "openai"]


class Exchange(msgspec.Struct, eq=False):  # a dataclass takes four times as long to make
    """One client request, read whole; `headers` have lower-case names.

    `body` is the parsed body, if it parses: whoever picks the flow peeks at it, the validating step
    refuses it. `format` is the one the client speaks, in and out. `attempts` counts the calls upstream,
    `tried` has every target that was tried: the last one answered, if anyone did; `calls_before` says of
    each how many calls were made before its first. `has_next` says that somebody else can be asked if this
    one fails. `left_out` names, by API, the client's parameters that the
    last one did not take. Of an OpenAI client's request, `canonical` is what it is as a Messages request, and
    `chat_only` refuses what of it only a chat backend can do. `cache` is the answer cache's part
    in this request, if it has one. `tenant` is on whose account it was let in; empty if nobody counts it.
    `kept` holds what was answered, in pieces, where answers are captured; emptied when it was too much.
    `searched` is what was looked for in the raw body, for errors' texts (`coordinators.quotes`).
    """

    __fed_whole__: ClassVar[bool] = True  # its parts come from no step (`express.feeds`)

    id: str
    headers: Mapping[str, str]
    raw: bytes
    body: Json | None = None
    started: float = msgspec.field(default_factory=time.time)
    format: Format = "anthropic"
    attempts: int = 0
    tried: list[Target] = []
    calls_before: list[int] = []
    cache: CacheUse | None = None
    left_out: dict[str, tuple[str, ...]] = {}
    canonical: Json | None = None
    chat_only: list[UnsupportedContent] = []
    has_next: bool = False
    tenant: str = ""
    kept: list[bytes] | None = None
    searched: dict[str, int] | None = None

    @property
    def stream(self) -> bool:
        """Whether the client asked for a stream."""
        return self.body is not None and self.body.get("stream") is True

    @property
    def model(self) -> str:
        """The model's name as the client gave it; empty if it gave none."""
        name = self.body.get("model") if self.body is not None else None
        return name if isinstance(name, str) else ""

    @property
    def session(self) -> str | None:
        """The client's own session id, where Claude Code sends one."""
        return self.headers.get("x-claude-code-session-id")

    def __prefect_summary__(self) -> dict[str, str | int | bool]:
        """Give what a flow run may show as its parameter: sizes and ids, never content."""
        return {"request_id": self.id, "body_bytes": len(self.raw)}


@dataclass(slots=True)
class Whole:
    """A finished answer: a JSON body, and what the run's summary wants to know."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    summary: dict[str, str | int | float | None] = field(default_factory=dict)


@dataclass(slots=True)
class Streaming:
    """An answer whose first event has come, and whose rest is still to be read."""

    live: Live
    headers: dict[str, str] = field(default_factory=dict)
    ping: bytes | None = None


@dataclass(slots=True)
class Sending:
    """A streaming answer on its way to the client: bytes to send, whole SSE frames each.

    `ping` is what is sent in a silence, where it is not the usual of the client's format.
    """

    frames: AsyncIterator[bytes]
    headers: dict[str, str] = field(default_factory=dict)
    ping: bytes | None = None
