"""What a step needs to know of a backend: its name, its wire, and how to reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

import msgspec

from wire.dialects import OPENROUTER, Dialect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from tasks.live_stream import Translator
    from tasks.must_reason import MustReason
    from wire.answer import AnswerContext
    from wire.errors import GatewayError
    from wire.openai_stream import OpenAIShape

Wire: TypeAlias = Literal["messages", "chat"]

NO_MODEL = ""
"""In a model's place: the call has no model work, so that it says something about the way there only."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: the name the client asked for, the backend's own, and the wire.

    `whose_key` names the setting that holds the key we send, for messages about a refused key.
    `dialect` says what of a chat request the backend takes. `counts` says that the backend counts
    input tokens itself (it is then a `CountsTokens`).
    """

    asked: str
    model: str
    wire: Wire
    whose_key: str
    backend: str = "openrouter"
    dialect: Dialect = OPENROUTER
    counts: bool = False


class Outgoing(msgspec.Struct, frozen=True):  # made for every request, as `Reply` is: see `AnswerContext`
    """A request in the backend's format, with what rendering its answer will need.

    `first_event`: the seconds within which the first event of a stream must come, if that matters. `shape` is
    what an OpenAI client asked of its answer's form, and None for any other client. `relayed` says that such
    a client's own body went to a chat backend, so that the answer goes back likewise. `translate` makes the
    translator of its stream, where neither of these says which. `must_reason` is where to note the model if
    it refuses to be told not to reason, as this request tells it (`tasks.must_reason`).
    """

    __fed_whole__: ClassVar[bool] = True  # steps take it whole (`express.feeds`)

    wire: Wire
    payload: bytes
    headers: Mapping[str, str]
    stream: bool
    context: AnswerContext
    first_event: float | None = None
    shape: OpenAIShape | None = None
    relayed: bool = False
    translate: Callable[[], Translator] | None = None
    must_reason: MustReason | None = None


class Reply(msgspec.Struct, frozen=True):
    """An upstream's whole answer; header names are lower-case."""

    __fed_whole__: ClassVar[bool] = True

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
    """Something that answers messages, with one key of ours."""

    name: str
    base_url: str

    def target(self, asked: str) -> Target:
        """Say which model and wire a model's name means here; raises NotFound."""
        ...

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send and read the whole answer; raises UpstreamFailed or UpstreamTimeout."""
        ...

    async def open_stream(self, outgoing: Outgoing) -> Upstream:
        """Send and return as soon as the status and headers have come; raises likewise."""
        ...

    async def list_models(self, seconds: float) -> Reply:
        """Fetch the backend's own list of models within `seconds`."""
        ...


class CountsTokens(Protocol):
    """A backend that counts input tokens itself."""

    async def count_tokens(self, outgoing: Outgoing) -> Reply:
        """Ask for the count of a request on the messages wire."""
        ...


class Lane(Protocol):
    """One way to a backend, with one of its keys, for one attempt. Who takes it tells how it went."""

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send as the backend does; waits for a place first, raises Overloaded if there is none."""
        ...

    async def open_stream(self, outgoing: Outgoing) -> Upstream:
        """Open a stream as the backend does; its place is free again once it is closed."""
        ...

    def succeeded(self, model: str) -> None:
        """Say that the backend answered for the model that the lane was picked for."""
        ...

    def failed(self, error: GatewayError, model: str) -> bool:
        """Say what the attempt raised: enough failures, and the lane, or the model on it, cools down.

        True: it was about this lane's key, and another lane can take over at once.
        """
        ...


class Lanes(Protocol):
    """All ways to one backend, and who may take them now."""

    name: str

    def pick(self, model: str) -> Lane:
        """Pick the way for one attempt; raises what keeps it shut if every lane is cooling down.

        `model` is the backend's own name of the model, which may cool down while others go on; `NO_MODEL`
        for a call that asks none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """One choice for a request: what to ask for, and of whom."""

    target: Target
    backend: Lanes


class Backends(Protocol):
    """Everything that can answer here."""

    def routes(self, asked: str) -> tuple[Route, ...]:
        """Give the first choice for a model's name, and then its fallbacks; raises NotFound."""
        ...
