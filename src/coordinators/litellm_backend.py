"""A provider reached through LiteLLM, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from tasks.backend import Target
from tasks.model_names import openrouter_name, strip_context_suffix
from wire.dialects import LITELLM
from wire.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coordinators.http_upstream import HttpUpstream
    from coordinators.litellm_calls import LiteLLM
    from tasks.backend import Outgoing, Reply, Upstream
    from wire.dialects import Dialect


class LiteLLMBackend:
    """One provider, called by `litellm.acompletion` with one key (`tasks.backend.Backend`).

    `provider` is LiteLLM's name for it, `access` LiteLLM's arguments that hold keys and addresses.
    """

    def __init__(
        self,
        library: LiteLLM,
        *,
        name: str,
        provider: str,
        access: Mapping[str, str],
        whose_key: str,
        dialect: Dialect,
    ) -> None:
        self.name = name
        self.base_url = access.get("api_base") or access.get("aws_bedrock_runtime_endpoint") or ""
        self._library = library
        self._provider = provider
        self._access = access
        self._whose_key = whose_key
        self._dialect = dialect

    def target(self, asked: str) -> Target:
        """Take the name as it is: whether the provider has the model, it says itself."""
        return Target(asked, asked, "chat", self._whose_key, self.name, self._dialect)

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send and read the whole answer, as a chat completion."""
        chat = orjson.loads(outgoing.payload)
        return await self._library.send(chat, outgoing.context.upstream_model, self._provider, self._access)

    async def open_stream(self, outgoing: Outgoing) -> Upstream:
        """Send and return once the first chunk, or the provider's refusal, has come."""
        chat = orjson.loads(outgoing.payload)
        return await self._library.open(chat, outgoing.context.upstream_model, self._provider, self._access)

    async def list_models(self, seconds: float) -> Reply:
        """Say that there is no list here: LiteLLM's table has the models."""
        del seconds
        raise NotFound(f"{self.name} is not asked for its models")


class LiteLLMOpenRouter(LiteLLMBackend):
    """OpenRouter through LiteLLM: `PROXY_BACKEND=LITELLM_OPENROUTER`."""

    def __init__(
        self,
        library: LiteLLM,
        http: HttpUpstream,
        *,
        base_url: str,
        api_key: str,
        whose_key: str = "OPENROUTER_API_KEY",
        name: str = "litellm",
    ) -> None:
        super().__init__(
            library,
            name=name,
            provider="openrouter",
            access={"api_base": base_url.rstrip("/"), "api_key": api_key},
            whose_key=whose_key,
            dialect=LITELLM,
        )
        self._http = http
        self._headers = {"authorization": f"Bearer {api_key}", "accept-encoding": "identity"}

    def target(self, asked: str) -> Target:
        """Find OpenRouter's name for the model; raises NotFound with what would work."""
        model = openrouter_name(strip_context_suffix(asked))
        if model is None:
            raise NotFound(
                f"model: {asked[:200]!r} is not known here. Use a Claude name (claude-sonnet-4-5), or "
                "OpenRouter's own name with its vendor (openai/gpt-5)"
            )
        return Target(asked, model, "chat", self._whose_key, self.name, self._dialect)

    async def list_models(self, seconds: float) -> Reply:
        """Fetch OpenRouter's list of models."""
        return await self._http.get(f"{self.base_url}/models", self._headers, seconds)
