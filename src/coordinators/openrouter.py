"""OpenRouter, on both of its wires: Anthropic's `/messages` and OpenAI's `/chat/completions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tasks.backend import Target
from tasks.model_names import openrouter_name, strip_context_suffix
from wire.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinators.http_upstream import HttpStream, HttpUpstream
    from tasks.backend import Outgoing, Reply, Wire

_PATHS: dict[str, str] = {"messages": "/messages", "chat": "/chat/completions"}


class OpenRouter:
    """The OpenRouter backend (`tasks.backend.Backend`).

    `aliases` maps names of ours (`big`, `small`) and overrides of any name to OpenRouter's.
    `wire` `auto` takes the messages wire for `anthropic/*` models and the chat wire for others.
    """

    def __init__(
        self,
        http: HttpUpstream,
        *,
        base_url: str,
        api_key: str,
        aliases: Mapping[str, str],
        wire: Literal["auto", "messages", "chat"] = "auto",
        name: str = "openrouter",
    ) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._http = http
        self._aliases = aliases
        self._wire = wire
        self._urls = {wire: self.base_url + path for wire, path in _PATHS.items()}
        self._headers = {
            "authorization": f"Bearer {api_key}",
            "content-type": "application/json",
            "accept-encoding": "identity",  # answers are small or streamed: inflating them costs more
            "x-title": "Headgate",
        }
        self._targets: dict[str, Target] = {}

    def target(self, asked: str) -> Target:
        """Find OpenRouter's name for the model; raises NotFound with what would work."""
        if (known := self._targets.get(asked)) is not None:
            return known
        plain = strip_context_suffix(asked)
        alias = self._aliases.get(asked) or self._aliases.get(plain)
        model = alias or openrouter_name(asked)
        if model is None:
            raise NotFound(
                f"model: {asked[:200]!r} is not known here. Use a Claude name (claude-sonnet-4-5), "
                f"one of {', '.join(sorted(self._aliases))}, or OpenRouter's own name with its vendor "
                "(openai/gpt-5)"
            )
        target = Target(asked, model, self._wire_of(model), "OPENROUTER_API_KEY")
        if len(self._targets) < 1000:
            self._targets[asked] = target
        return target

    def _wire_of(self, model: str) -> Wire:
        if self._wire == "auto":
            return "messages" if model.startswith("anthropic/") else "chat"
        return self._wire

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send and read the whole answer."""
        return await self._http.post(
            self._urls[outgoing.wire], outgoing.payload, self._headers | dict(outgoing.headers)
        )

    async def open_stream(self, outgoing: Outgoing) -> HttpStream:
        """Send and return once the status has come."""
        return await self._http.open(
            self._urls[outgoing.wire], outgoing.payload, self._headers | dict(outgoing.headers)
        )

    async def list_models(self, seconds: float) -> Reply:
        """Fetch OpenRouter's list of models."""
        return await self._http.get(f"{self.base_url}/models", self._headers, seconds)
