"""The universal stream: whose format a request is in, what it may ask for, and the chunks of its answers.

A chunk, version 1, is one SSE `data:` line:

    {"v": 1, "provider": "openai", "model": "gpt-5", "index": 0,
     "kind": "text", "delta": {"text": "Hel"}, "raw": {…}}

`index` counts the parts of the answer: each text, each piece of reasoning and each tool call is a part.

| kind | delta |
|---|---|
| text | `text`; `citation` |
| reasoning | `text`; `signature`, whole, to be sent back on the next turn; `data`, encrypted reasoning |
| tool_call | `id` and `name` in a call's first chunk, `arguments` (pieces of JSON text) in all |
| usage | `input_tokens`, `output_tokens`, `cache_read_input_tokens`, …, `cost_usd` |
| end | `stop_reason`, `stop_sequence` |
| error | `type`, `message`, `request_id` |

`raw` is what the provider said beside that, as LiteLLM tells it: a field comes when it first does, and again
when it changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from wire.errors import InvalidRequest

if TYPE_CHECKING:
    from wire.messages import Json

VERSION = 1

Format: TypeAlias = Literal["anthropic", "openai"]
Output: TypeAlias = Literal["universal", "anthropic", "openai"]

OPTIONS = ("format", "output", "provider", "fallbacks")
"""Fields of the universal stream's own; `provider` and `fallbacks` only if they are not another API's."""

_ANTHROPIC_FIELDS = frozenset(
    {"system", "stop_sequences", "thinking", "metadata", "top_k", "output_config", "context_management",
     "mcp_servers", "container"}
)  # fmt: skip
_OPENAI_FIELDS = frozenset(
    {"max_completion_tokens", "stop", "n", "response_format", "stream_options", "frequency_penalty",
     "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "seed", "user", "parallel_tool_calls",
     "reasoning_effort", "functions", "function_call", "modalities", "prediction", "verbosity"}
)  # fmt: skip
_ANTHROPIC_BLOCKS = frozenset(
    {"image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result"}
)
_OPENAI_PARTS = frozenset({"image_url", "input_audio", "file", "refusal"})


def format_of(body: Json) -> Format:
    """Say whose format a body is in; raises InvalidRequest if it says both, or names another.

    `format` decides. Else the body's shape does: a tool's or a message's (`tool_calls`, roles `tool`,
    `developer` and a leading `system`, the types of content parts), then the names of fields that only one
    of the two has. A body that shows neither is Anthropic's if it has `max_tokens`, which Anthropic requires.
    """
    named = body.get("format")
    if named is not None:
        if named not in get_args(Format):
            raise InvalidRequest(f"format: must be anthropic or openai, not {str(named)[:40]!r}")
        return "openai" if named == "openai" else "anthropic"
    shapes = _shapes(body)
    fields = {"anthropic": body.keys() & _ANTHROPIC_FIELDS, "openai": body.keys() & _OPENAI_FIELDS}
    if len(shapes) > 1:
        raise InvalidRequest("format: the messages and tools are in two formats; say which one is meant")
    if shapes:
        return shapes.pop()
    if fields["anthropic"] and not fields["openai"]:
        return "anthropic"
    if fields["openai"] and not fields["anthropic"]:
        return "openai"
    return "anthropic" if "max_tokens" in body else "openai"


def _shapes(body: Json) -> set[Format]:
    """Give the formats that the messages and tools of a body show."""
    found: set[Format] = set()
    for tool in _objects(body.get("tools")):
        found.add("openai" if tool.get("type") == "function" and "function" in tool else "anthropic")
    for place, message in enumerate(_objects(body.get("messages"))):
        role = message.get("role")
        if message.get("tool_calls") or role in ("tool", "developer") or (role == "system" and place == 0):
            found.add("openai")
        for part in _objects(message.get("content")):
            kind = part.get("type")
            if kind in _ANTHROPIC_BLOCKS:
                found.add("anthropic")
            elif kind in _OPENAI_PARTS:
                found.add("openai")
    return found


def output_of(body: Json, query: str | None) -> Output:
    """Give the format that the answer is wanted in; the query goes before the body's field."""
    named = query or body.get("output")
    if named is None:
        return "universal"
    for known in get_args(Output):
        if named == known:
            return known  # type: ignore[no-any-return]
    raise InvalidRequest(f"output: must be universal, anthropic or openai, not {str(named)[:40]!r}")


def fallbacks_of(body: Json) -> tuple[str, ...] | None:
    """Give the models to fall back to, in order; None if the body names none.

    A list of names is the universal stream's; Anthropic's own field of that name holds objects.
    """
    named = body.get("fallbacks")
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        return None
    return tuple(named)


def without_options(body: Json) -> Json:
    """Give the body as its own API knows it, asking for a stream."""
    own = {name: value for name, value in body.items() if name not in ("format", "output")}
    if isinstance(own.get("provider"), str):
        del own["provider"]
    if fallbacks_of(body) is not None:
        del own["fallbacks"]
    return {**own, "stream": True}


def _objects(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
