"""LiteLLM: the one place that imports it and calls it.

It is used as a converter between the chat format and a provider's own; see `call_transport` for the network.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from coordinators.litellm_stream import ChatFrames, Refused, litellm_chunks, own_chunks, told_error
from tasks.backend import Reply
from wire.cohere import cohere_chunk, cohere_extras
from wire.errors import UpstreamFailed
from wire.litellm_chat import CHAT_WIRES, COHERE, call_arguments, chat_completion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from coordinators.call_transport import CallTransport
    from coordinators.http_upstream import HttpUpstream
    from tasks.backend import Upstream
    from wire.messages import Json

_QUIET = {
    "telemetry": False,
    "suppress_debug_info": True,  # it prints
    "turn_off_message_logging": True,
    "disable_streaming_logging": True,
    "drop_params": False,  # what has no form on a provider's wire is refused by its name
    "modify_params": False,
    "num_retries": 0,
    "callbacks": [],
    "success_callback": [],
    "failure_callback": [],
}
_PER_CALL = {
    "num_retries": 0,
    "max_retries": 0,
    "drop_params": False,
    "no-log": True,
    "_skip_mcp_handler": True,  # it would run tools itself, and needs a package that is not here
}


class LiteLLM:
    """The library, imported in a thread when it is first needed: that takes seconds and 200 MB."""

    def __init__(self, http: HttpUpstream) -> None:
        self._http = http
        self._library: Any = None
        self._loading = asyncio.Lock()
        self._warming: asyncio.Task[Any] | None = None

    def warm(self) -> None:
        """Begin to load the library, so that the first request need not wait for it."""
        self._warming = asyncio.create_task(self.load())

    async def load(self) -> Any:
        """Give the library, imported off the event loop."""
        if self._library is None:
            async with self._loading:
                self._library = self._library or await asyncio.to_thread(_import)
        return self._library

    async def send(self, chat: Json, model: str, provider: str, access: Mapping[str, str]) -> Reply:
        """Call and read the whole answer, as a chat completion or the upstream's refusal.

        `chat` is a request in our dialect, `provider` LiteLLM's name of one, `access` LiteLLM's arguments
        that hold keys and addresses. Raises GatewayError.
        """
        library = await self.load()
        transport = self._transport(provider, whole=True)
        try:
            answer = await library.acompletion(**self._call(chat, model, provider, access, transport))
        except Exception as error:
            if transport.answer is not None:
                return transport.answer
            raise told_error(error, transport) from error
        if provider in CHAT_WIRES and transport.answer is not None:
            return transport.answer
        completion = chat_completion(answer.model_dump(exclude_none=True), provider)
        if (usage := completion.get("usage")) and usage.get("cost") is None:
            usage["cost"] = (getattr(answer, "_hidden_params", None) or {}).get("response_cost")
        return Reply(200, {"content-type": "application/json"}, orjson.dumps(completion))

    async def open(self, chat: Json, model: str, provider: str, access: Mapping[str, str]) -> Upstream:
        """Call and return once the first chunk, or a refusal, has come; see `send`."""
        library = await self.load()
        transport = self._transport(provider, whole=False)
        answer: Any = None
        try:
            cost = self._pricing(model, provider)
            if provider == COHERE:
                await self._open_cohere(chat, model, access, transport)
                told = own_chunks(transport, cohere_chunk, cost)
            else:
                call = self._call(chat, model, provider, access, transport)
                answer = await library.acompletion(
                    **call, stream=True, stream_options={"include_usage": True}
                )
                if provider in CHAT_WIRES:
                    told = own_chunks(transport, _as_it_is, cost)
                else:
                    told = litellm_chunks(answer, transport, provider, cost)
            stream = ChatFrames(told, transport, answer)
            await stream.start()
        except BaseException as error:
            await transport.close()
            if not isinstance(error, Exception):
                raise
            if transport.answer is not None:
                return Refused(transport.answer)
            raise told_error(error, transport) from error
        return stream

    def _transport(self, provider: str, *, whole: bool) -> CallTransport:
        from coordinators.call_transport import CallTransport  # noqa: PLC0415 - httpx: 0.1 s, for calls only

        return CallTransport(self._http, provider, whole=whole)

    def _call(
        self, chat: Json, model: str, provider: str, access: Mapping[str, str], transport: CallTransport
    ) -> dict[str, Any]:
        """Give all arguments of a call: it names its provider, so that LiteLLM has nothing to guess."""
        return {
            **call_arguments(chat, provider, self._supported(model, provider)),
            **access,
            **_PER_CALL,
            "model": model,
            "custom_llm_provider": provider,
            "client": _client(provider, model, access, transport),
        }

    def _supported(self, model: str, provider: str) -> frozenset[str]:
        told = self._library.get_supported_openai_params(model=model, custom_llm_provider=provider)
        return frozenset(told or ())

    async def _open_cohere(
        self, chat: Json, model: str, access: Mapping[str, str], transport: CallTransport
    ) -> None:
        """Have LiteLLM write Cohere's request, and send it ourselves.

        LiteLLM's own call for Cohere takes no client, forgets `tool_choice`, and cannot read the stream.
        """
        config = self._library.CohereV2ChatConfig()
        arguments = call_arguments(chat, COHERE, self._supported(model, COHERE))
        messages = arguments.pop("messages")
        mapped = config.map_openai_params(
            non_default_params=arguments, optional_params={}, model=model, drop_params=False
        )
        body = config.transform_request(model, messages, mapped, {}, {})
        body |= {"stream": True, **cohere_extras(arguments)}
        headers = {"authorization": f"Bearer {access['api_key']}"}
        await transport.post(access["api_base"], orjson.dumps(body), headers)
        if transport.answer is not None:
            raise UpstreamFailed("Cohere refused the request")  # told by the refusal itself

    def _pricing(self, model: str, provider: str) -> Callable[[Any], float | None]:
        """Give what prices a usage by LiteLLM's table; it gives None for a model that is not in it."""
        library = self._library

        def cost(usage: Any) -> float | None:
            with suppress(Exception):
                counted = library.Usage(**usage) if isinstance(usage, dict) else usage
                prices = library.cost_per_token(
                    model=model, custom_llm_provider=provider, usage_object=counted
                )
                return float(sum(prices)) or None
            return None

        return cost


def _as_it_is(chunk: Json) -> Json:
    return chunk


def _client(provider: str, model: str, access: Mapping[str, str], transport: CallTransport) -> Any:
    """Give the client that LiteLLM calls this provider by, on our transport."""
    if provider not in {"openai", "azure"}:
        from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler  # noqa: PLC0415 - heavy

        return AsyncHTTPHandler(transport=transport)
    import httpx  # noqa: PLC0415 - likewise
    import openai  # noqa: PLC0415 - likewise

    http = httpx.AsyncClient(transport=transport)
    if provider == "openai":
        return openai.AsyncOpenAI(
            api_key=access["api_key"], base_url=access["api_base"], http_client=http, max_retries=0
        )
    return openai.AsyncAzureOpenAI(
        api_key=access["api_key"],
        azure_endpoint=access["api_base"],
        azure_deployment=model,
        api_version=access["api_version"],
        http_client=http,
        max_retries=0,
    )


def _import() -> Any:
    """Import LiteLLM, told to be quiet and to leave alone what is ours."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks the network for prices, with retries
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    import litellm  # noqa: PLC0415 - seconds and 200 MB

    for name, value in _QUIET.items():
        setattr(litellm, name, value)
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):  # it writes by itself: our handler does
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    return litellm
