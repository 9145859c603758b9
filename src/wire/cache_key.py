"""The key of a request's answer: equal when nothing that bears on the answer differs.

A string is short for one text block, in messages, in the system prompt and in a tool's result; an empty one
is not, because a block of it is refused.

The digest of a conversation's message stays with it (`wire.interning`), so a long conversation that comes
back costs what is new in it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from wire.body import unwritable
from wire.errors import InvalidRequest
from wire.interning import SharedMessage, SharedTools

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wire.messages import Json

NO_BEARING: Mapping[str, str] = {
    "cache": "what the request says of this cache",
    "cache_control": "what the upstream keeps of the prompt",
    "metadata": "who asks; Claude Code puts its session here",
    "prompt_cache_key": "where the upstream keeps the prompt",
    "prompt_cache_options": "likewise",
    "prompt_cache_retention": "how long the upstream keeps the prompt",
    "safety_identifier": "who asks",
    "session_id": "which requests OpenRouter shows together",
    "stream": "the form of the answer: either form answers the other",
    "trace": "what OpenRouter tells observers",
    "user": "who asks",
}
"""Fields of a request that do not change its answer, and what they are for."""

_BILLING = "x-anthropic-billing-header:"
_NEUTRAL_BETAS = ("prompt-caching-", "extended-cache-ttl-")
_ASKING = ("anthropic-", "x-openrouter-", "x-openai-")
_USUAL = {("anthropic-version", "2023-06-01")}  # what the upstream is sent when a client names none
_UNSENT = {"anthropic-dangerous-direct-browser-access"}
_SORTED = orjson.OPT_SORT_KEYS


def cache_key(
    body: Json, *, tenant: str, backend: str, model: str, headers: Mapping[str, str], house: str = ""
) -> bytes:
    """Give the key (32 bytes) of what `backend` and its `model` answer to this request of `tenant`.

    `headers` have lower-case names; `house` stands for what the gateway's settings put into every request.
    Raises InvalidRequest for a body that cannot be written as JSON.
    """
    rest = {name: value for name, value in body.items() if name not in NO_BEARING}
    messages, tools, system = rest.pop("messages", ()), rest.pop("tools", ()), rest.pop("system", None)
    try:
        head = [tenant, backend, model, house, asked_in(headers), rest, _plain_system(system)]
        digest = hashlib.sha256(orjson.dumps(head, option=_SORTED))
        digest.update(_tools_digest(tools or ()))
        for message in messages:
            digest.update(_message_digest(message))
    except TypeError:  # orjson.JSONEncodeError, which does not say where
        raise InvalidRequest(f"{unwritable(body)}: nested too deeply, or not JSON") from None
    return digest.digest()


def asked_in(headers: Mapping[str, str]) -> Json:
    """Pick the headers that change answers: what goes on to the upstream, and parameters given as headers."""
    asked: dict[str, Any] = {}
    for name, value in headers.items():
        if name == "anthropic-beta":
            betas = {beta.strip() for beta in value.split(",")} - {""}
            if telling := sorted(beta for beta in betas if not beta.startswith(_NEUTRAL_BETAS)):
                asked[name] = telling
        elif name.startswith(_ASKING) and (name, value) not in _USUAL and name not in _UNSENT:
            asked[name] = value
    return asked


def _message_digest(message: Any) -> bytes:
    if type(message) is not SharedMessage:
        return _digest(_plain_message(message))
    if message.digest is None:
        message.digest = _digest(_plain_message(message) if message.marked else _spelled_out(message))
    return message.digest


def _tools_digest(tools: Any) -> bytes:
    if type(tools) is not SharedTools:
        return _digest([_unmarked(tool) for tool in tools])
    if tools.digest is None:
        tools.digest = _digest([_unmarked(tool) for tool in tools] if tools.marked else tools)
    return tools.digest


def _digest(value: Any) -> bytes:
    return hashlib.sha256(orjson.dumps(value, option=_SORTED)).digest()


def _plain_message(message: Any) -> Any:
    """Give the message without its cache breakpoints, its texts as blocks."""
    if type(message) is not dict and type(message) is not SharedMessage:
        return message
    plain = dict(_unmarked(message))
    plain["content"] = _plain_content(plain.get("content"))
    return plain


def _spelled_out(message: SharedMessage) -> Json:
    """Give a message that has no breakpoints with its texts as blocks: every new message passes here."""
    content = message.get("content")
    if type(content) is not list:
        return {**message, "content": _in_block(content)}
    for block in content:
        if type(block) is dict and type(block.get("content")) is str:
            return {**message, "content": [_spelled_block(one) for one in content]}
    return message


def _spelled_block(block: Any) -> Any:
    if (
        type(block) is dict
        and type(text := block.get("content")) is str
        and block.get("type") == "tool_result"
    ):
        return {**block, "content": _in_block(text)}
    return block


def _plain_content(content: Any) -> Any:
    if isinstance(content, list):
        return [_plain_block(block) for block in content]
    return _in_block(content)


def _in_block(content: Any) -> Any:
    return [{"type": "text", "text": content}] if content and isinstance(content, str) else content


def _plain_block(block: Any) -> Any:
    """Give a block without its breakpoint, and those within a tool's result or a document."""
    block = _unmarked(block)
    if not isinstance(block, dict):
        return block
    if isinstance(block.get("content"), list):
        block = {**block, "content": _plain_content(block["content"])}
    else:
        block = _spelled_block(block)
    source = block.get("source")
    if isinstance(source, dict) and isinstance(source.get("content"), list):
        block = {**block, "source": {**source, "content": _plain_content(source["content"])}}
    return block


def _plain_system(system: Any) -> Any:
    """Give the system prompt without breakpoints and without Claude Code's line about billing."""
    system = _in_block(system)
    if not isinstance(system, list):
        return system
    blocks = (_unbilled(_unmarked(block)) for block in system)
    return [block for block in blocks if block is not None]


def _unbilled(block: Any) -> Any:
    text = block.get("text") if isinstance(block, dict) else None
    if not isinstance(text, str) or not text.startswith(_BILLING):
        return block
    rest = _without_billing(text)
    return {**block, "text": rest} if rest else None


def _without_billing(text: str) -> str:
    return text.partition("\n")[2].lstrip("\n") if text.startswith(_BILLING) else text


def _unmarked(block: Any) -> Any:
    if isinstance(block, dict) and "cache_control" in block:
        return {name: value for name, value in block.items() if name != "cache_control"}
    return block
