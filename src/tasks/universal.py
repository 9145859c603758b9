"""The universal stream's own steps: read what is asked for, find who serves it, say how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from express import step
from wire.check import check_request, parse_body
from wire.openai_request import from_openai
from wire.openai_stream import OpenAIShape
from wire.sse import COMMENT
from wire.universal import fallbacks_of, format_of, output_of, without_options
from wire.universal_bytes import UniversalBytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.backend import Outgoing, Route
    from tasks.exchange import Exchange
    from wire.messages import Json
    from wire.universal import Output

PROVIDER_HEADER = "x-headgate-provider"


class Providers(Protocol):
    """Finds who serves a model."""

    async def routes(
        self, asked: str, provider: str | None = None, fallbacks: Sequence[str] | None = None
    ) -> tuple[Route, ...]:
        """Give the ways to answer, the first choice first; raises NotFound or PermissionDenied."""
        ...


@dataclass(frozen=True, slots=True)
class UniversalRequest:
    """A request in the canonical form, an Anthropic request, and what it says of where it goes."""

    body: Json
    output: Output
    provider: str | None
    fallbacks: tuple[str, ...] | None

    def __prefect_summary__(self) -> dict[str, Any]:
        """Give what a run may show of it."""
        return {"output": self.output, "provider": self.provider, "fallbacks": len(self.fallbacks or ())}


@step
def read_universal_request(exchange: Exchange, output: str | None) -> UniversalRequest:
    """Parse and check the request, in either format; raises InvalidRequest with the field's path.

    `output` is the query's word for the format of the answer, if it has one.
    """
    told = exchange.body or parse_body(exchange.raw)
    own = without_options(told)
    body = from_openai(own) if format_of(told) == "openai" else own
    check_request(body)
    named = exchange.headers.get(PROVIDER_HEADER)
    if named is None and isinstance(told.get("provider"), str):
        named = told["provider"]
    return UniversalRequest(body, output_of(told, output), named, fallbacks_of(told))


@step
async def find_providers(request: UniversalRequest, providers: Providers) -> tuple[Route, ...]:
    """Give the routes for the request, the first choice first; raises NotFound or PermissionDenied."""
    return await providers.routes(request.body["model"], request.provider, request.fallbacks)


def told_as(output: Output, outgoing: Outgoing, route: Route, exchange: Exchange) -> Outgoing:
    """Give the request with how its answer is told: in chunks of our own, or in either API's events."""
    match output:
        case "anthropic":
            return outgoing
        case "openai":
            shape = OpenAIShape(route.target.asked, int(exchange.started), include_usage=True)
            return replace(outgoing, shape=shape)
        case "universal":
            provider = route.target.backend
            return replace(outgoing, translate=partial(UniversalBytes, outgoing.context, provider))


def ping_of(output: Output) -> bytes | None:
    """Give what is sent in a silence: a comment, where the format has no event for it."""
    return None if output == "anthropic" else COMMENT
