"""OpenRouter, on both of its wires: Anthropic's `/messages` and OpenAI's `/chat/completions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from coordinators.http_backend import HttpBackend
from tasks.backend import Target
from tasks.model_names import openrouter_name
from wire.dialects import OPENROUTER
from wire.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinators.http_upstream import HttpUpstream
    from tasks.backend import Reply, Wire


class OpenRouter(HttpBackend):
    """The OpenRouter backend.

    `wire` `auto` takes the messages wire for `anthropic/*` models and the chat wire for others.
    """

    paths: ClassVar[Mapping[Wire, str]] = {"messages": "/messages", "chat": "/chat/completions"}

    def __init__(
        self,
        http: HttpUpstream,
        *,
        base_url: str,
        api_key: str,
        wire: Literal["auto", "messages", "chat"] = "auto",
        name: str = "openrouter",
        whose_key: str = "OPENROUTER_API_KEY",
    ) -> None:
        super().__init__(http, name=name, base_url=base_url, whose_key=whose_key)
        self._wire = wire
        self._headers |= {"authorization": f"Bearer {api_key}", "x-title": "Headgate"}

    def find(self, asked: str) -> Target:
        """Find OpenRouter's name for the model; raises NotFound with what would work."""
        model = openrouter_name(asked)
        if model is None:
            raise NotFound(
                f"model: {asked[:200]!r} is not known here. Use a Claude name (claude-sonnet-4-5), "
                "or OpenRouter's own name with its vendor (openai/gpt-5)"
            )
        return Target(asked, model, self._wire_of(model), self.whose_key, self.name, OPENROUTER)

    async def check_key(self, seconds: float) -> Reply:
        """Ask about the key: OpenRouter's list of models is for everybody."""
        return await self._http.get(f"{self.base_url}/key", self._headers, seconds)

    def _wire_of(self, model: str) -> Wire:
        if self._wire == "auto":
            return "messages" if model.startswith("anthropic/") else "chat"
        return self._wire
