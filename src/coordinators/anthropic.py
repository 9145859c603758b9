"""Anthropic itself, on its own wire. It counts tokens, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from coordinators.http_backend import HttpBackend
from tasks.backend import Target
from tasks.model_names import anthropic_name
from wire.dialects import ANTHROPIC
from wire.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinators.http_upstream import HttpUpstream
    from tasks.backend import Outgoing, Reply, Wire

_VERSION = "2023-06-01"


class Anthropic(HttpBackend):
    """Anthropic's API."""

    paths: ClassVar[Mapping[Wire, str]] = {"messages": "/v1/messages"}
    models_path: ClassVar[str] = "/v1/models?limit=1000"

    def __init__(self, http: HttpUpstream, *, base_url: str, api_key: str, name: str = "anthropic") -> None:
        super().__init__(http, name=name, base_url=base_url, whose_key="ANTHROPIC_API_KEY")
        self._headers["x-api-key"] = api_key

    def find(self, asked: str) -> Target:
        """Find Anthropic's name for the model; raises NotFound if it is nobody's Claude name."""
        model = anthropic_name(asked)
        if model is None:
            raise NotFound(
                f"model: {asked[:200]!r} is not known here. Anthropic has Claude models (claude-sonnet-4-5)"
            )
        return Target(asked, model, "messages", self.whose_key, self.name, ANTHROPIC, counts=True)

    async def count_tokens(self, outgoing: Outgoing) -> Reply:
        """Have the input tokens counted (`tasks.backend.CountsTokens`)."""
        url = f"{self._urls['messages']}/count_tokens"
        return await self._http.post(url, outgoing.payload, self._headers_for(outgoing))

    async def list_models(self, seconds: float) -> Reply:
        """Fetch Anthropic's list of models."""
        headers = {**self._headers, "anthropic-version": _VERSION}
        return await self._http.get(self.base_url + self.models_path, headers, seconds)
