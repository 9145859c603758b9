"""What a step needs to know of a backend: its name, its wire, and how to reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from wire.answer import AnswerContext

Wire: TypeAlias = Literal["messages", "chat"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: the name the client asked for, the backend's own, and the wire.

    `whose_key` names the setting that holds the key we send, for messages about a refused key.
    """

    asked: str
    model: str
    wire: Wire
    whose_key: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request in the backend's format, with what rendering its answer will need."""

    wire: Wire
    payload: bytes
    headers: Mapping[str, str]
    stream: bool
    context: AnswerContext


@dataclass(frozen=True, slots=True)
class Reply:
    """An upstream's whole answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Upstream(Protocol):
    """An upstream's answer that is still being read. Who opens it closes it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers by lower-case name."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the body's bytes as they come; raises UpstreamFailed or UpstreamTimeout."""
        ...

    async def read(self) -> bytes:
        """Give the rest of the body at once (an error's)."""
        ...

    async def close(self) -> None:
        """Close the connection, or give it back if the answer was read to its end."""
        ...


class Backend(Protocol):
    """Something that answers messages."""

    name: str

    def target(self, asked: str) -> Target:
        """Say which model and wire a client's model name means; raises NotFound."""
        ...

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send and read the whole answer; raises UpstreamFailed or UpstreamTimeout."""
        ...

    async def open_stream(self, outgoing: Outgoing) -> Upstream:
        """Send and return as soon as the status and headers have come; raises likewise."""
        ...
