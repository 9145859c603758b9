"""A chat/completions request, as OpenAI's clients send it, as an Anthropic Messages request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.openai_check import check_openai
from wire.openai_parts import Unsupported
from wire.openai_turns import turns_of

if TYPE_CHECKING:
    from wire.errors import UnsupportedContent
    from wire.messages import Json

MOST_TOKENS = 32_000
"""`max_tokens` where the client sets no limit: Anthropic requires one, and Claudes since 3.7 take this."""

JSON_ONLY = "Answer with one JSON object and nothing else: no words before or after it, no code fence."
"""What `response_format: json_object` comes to: Anthropic holds models to schemas only, and this has none."""

FATES = {
    "model": "model",
    "messages": "system and messages",
    "max_completion_tokens": "max_tokens",
    "max_tokens": f"max_tokens; {MOST_TOKENS:,} where there is no limit",
    "temperature": "temperature; above 1, the highest that Anthropic takes, it is 1",
    "top_p": "top_p",
    "stop": "stop_sequences; blank ones refused",
    "stream": "stream",
    "stream_options": "include_usage → whether the stream ends with a chunk of usage",
    "tools": "tools; custom tools refused",
    "functions": "tools, one call at a time; the answer calls by function_call",
    "tool_choice": "tool_choice; allowed_tools → only those tools",
    "function_call": "tool_choice",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "response_format": "json_schema → output_config.format; json_object → an instruction",
    "reasoning_effort": "thinking and output_config.effort",
    "user": "metadata.user_id",
    "safety_identifier": "metadata.user_id, unless user says it",
    "service_tier": "service_tier: default, flex → standard_only; others → auto",
    "web_search_options": "the web_search tool",
    "n": "refused above 1",
    "audio": "refused",
    "logprobs": "refused",
    "top_logprobs": "refused above 0",
    "moderation": "refused: nobody else can judge, and a verdict is never forged",
    "modalities": "refused beyond text",
    "metadata": "user_id kept; the rest are tags for OpenAI's store, left out",
    "store": "left out: nothing is stored here",
    "prediction": "left out: a wish for more haste",
    "prompt_cache_key": "kept, see the parameters",
    "prompt_cache_options": "kept, see the parameters",
    "prompt_cache_retention": "kept, see the parameters",
    "frequency_penalty": "kept, see the parameters",
    "presence_penalty": "kept, see the parameters",
    "logit_bias": "kept, see the parameters",
    "seed": "kept, see the parameters",
    "verbosity": "kept, see the parameters",
}
"""What becomes of each field of OpenAI's API in an Anthropic request. Fields that are not here (OpenRouter's,
Anthropic's own, others) are kept at the top level."""

_REASONING = frozenset({"reasoning", "reasoning_effort"})
_READ = (
    frozenset(field for field, fate in FATES.items() if not fate.startswith("kept")) | {"usage"}
) - _REASONING
_TIERS = {"auto": "auto", "default": "standard_only", "flex": "standard_only"}
_EFFORTS = {"minimal": "low"}


def from_openai(
    body: Json,
    *,
    model: str = "",
    chat_only: list[UnsupportedContent] | None = None,
    keep_reasoning: bool = False,
) -> Json:
    """Render a chat/completions request as a Messages request; `body` stays as it is.

    InvalidRequest says with its path what is wrong. UnsupportedContent says what only a chat backend can do;
    where `chat_only` is given such refusals are put there, and what they concern is left out: of use for a
    request whose own body may go out as it came. `model` is the one that earlier reasoning goes back to.
    `keep_reasoning` leaves it to `with_thinking`, or to who knows the model better, how much to think.
    """
    check_openai(body)
    unsupported = Unsupported(chat_only)
    _refuse(body, unsupported)
    system, messages = turns_of(body["messages"], model or body["model"], unsupported)
    made: Json = {"model": body["model"], "max_tokens": _limit(body), "messages": messages}
    made |= {field: value for field, value in body.items() if field not in _READ}
    _add_sampling(made, body, unsupported)
    _add_tools(made, body, unsupported)
    _add_format(made, system, body)
    _add_rest(made, body)
    if system:
        made["system"] = _simplest(system)
    return made if keep_reasoning else with_thinking(made)


def with_thinking(body: Json) -> Json:
    """Say OpenAI's `reasoning_effort` or OpenRouter's `reasoning`, if it is there, in Anthropic's words."""
    if body.keys().isdisjoint(_REASONING):
        return body
    made = {field: value for field, value in body.items() if field not in _REASONING}
    if made.get("thinking") is None:  # a client that sends Anthropic's own beside them means that
        _add_thinking(made, body)
    return made


def _refuse(body: Json, unsupported: Unsupported) -> None:
    """Refuse what would make another answer than a Message can be."""
    if (body.get("n") or 1) > 1:
        unsupported.refuse("n", "a Message is one answer; ask again for another")
    for field in ("logprobs", "top_logprobs", "audio", "moderation"):
        if body.get(field):
            unsupported.refuse(field, "has no form in an Anthropic request")
    modalities: list[Any] = body.get("modalities") or []
    for place, modality in enumerate(modalities):
        if modality != "text":
            unsupported.refuse(f"modalities.{place}", "a Message is text")


def _limit(body: Json) -> int:
    return int(body.get("max_completion_tokens") or body.get("max_tokens") or MOST_TOKENS)


def _add_sampling(made: Json, body: Json, unsupported: Unsupported) -> None:
    if body.get("temperature") is not None:
        made["temperature"] = min(body["temperature"], 1)
    if body.get("top_p") is not None:
        made["top_p"] = body["top_p"]
    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    for place, one in enumerate(stops):
        if not one.strip():
            at = "stop" if isinstance(stop, str) else f"stop.{place}"
            unsupported.refuse(at, "Anthropic takes no stop sequence of white space only")
    if told := [one for one in stops if one.strip()]:
        made["stop_sequences"] = told


def _add_tools(made: Json, body: Json, unsupported: Unsupported) -> None:
    """Add the tools, and the choice among them; a choice without tools says nothing."""
    tools = [_tool(function, {}) for function in body.get("functions") or ()]
    for place, tool in enumerate(body.get("tools") or ()):
        if tool.get("type", "function") == "function":
            tools.append(_tool(tool["function"], tool))
        else:
            unsupported.refuse(
                f"tools.{place}", f"{tool['type'][:60]!r} tools have no form in an Anthropic request"
            )
    choice = _choice(body, unsupported)
    if choice and (allowed := choice.pop("allowed", None)) is not None:
        tools = [tool for tool in tools if tool["name"] in allowed]
    one_at_a_time = body.get("parallel_tool_calls") is False or bool(body.get("functions"))
    if tools and one_at_a_time and (choice or {}).get("type") != "none":
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if tools and choice:
        made["tool_choice"] = choice
    if body.get("web_search_options") is not None:
        tools.append(_web_search(body["web_search_options"]))
    if tools:
        made["tools"] = tools


def _tool(function: Json, tool: Json) -> Json:
    made: Json = {"name": function["name"]}
    if function.get("description"):
        made["description"] = function["description"]
    made["input_schema"] = {"type": "object"} | (function.get("parameters") or {})
    if function.get("strict"):
        made["strict"] = True
    if tool.get("cache_control"):
        made["cache_control"] = tool["cache_control"]
    return made


def _choice(body: Json, unsupported: Unsupported) -> Json | None:
    choice = body.get("tool_choice") if body.get("tool_choice") is not None else body.get("function_call")
    match choice:
        case None:
            return None
        case "required":
            return {"type": "any"}
        case str():
            return {"type": choice}
        case {"name": name} if "type" not in choice:  # function_call
            return {"type": "tool", "name": name}
        case {"type": "function", "function": function}:
            return {"type": "tool", "name": function["name"]}
        case {"type": "allowed_tools", "allowed_tools": allowed}:
            names = {(tool.get("function") or {}).get("name") for tool in allowed["tools"]}
            return {"type": "any" if allowed["mode"] == "required" else "auto", "allowed": names}
        case other:
            unsupported.refuse(
                "tool_choice.type", f"{other['type'][:60]!r} has no form in an Anthropic request"
            )
            return None


def _web_search(options: Json) -> Json:
    tool: Json = {"type": "web_search_20250305", "name": "web_search"}
    if place := options.get("user_location"):
        tool["user_location"] = {"type": "approximate", **place["approximate"]}
    return tool


def _add_thinking(made: Json, body: Json) -> None:
    """Add `thinking` and the effort."""
    reasoning = body.get("reasoning") or {}
    effort = reasoning.get("effort") or body.get("reasoning_effort")
    if effort == "none" or reasoning.get("enabled") is False:
        made["thinking"] = {"type": "disabled"}
        return
    if reasoning.get("max_tokens"):
        made["thinking"] = {"type": "enabled", "budget_tokens": reasoning["max_tokens"]}
    elif effort or reasoning.get("enabled"):
        made["thinking"] = {"type": "adaptive"}
    if effort:
        given = made.get("output_config")
        made["output_config"] = {
            **(given if isinstance(given, dict) else {}),
            "effort": _EFFORTS.get(effort, effort),
        }
    if reasoning.get("exclude") and "thinking" in made:
        made["thinking"]["display"] = "omitted"


def _add_format(made: Json, system: list[Json], body: Json) -> None:
    """Add the form of the answer."""
    match body.get("response_format"):
        case {"type": "json_schema", "json_schema": wanted} if wanted.get("schema") is not None:
            given = made.get("output_config")
            form = {"type": "json_schema", "schema": wanted["schema"]}
            made["output_config"] = {**(given if isinstance(given, dict) else {}), "format": form}
        case {"type": "json_object" | "json_schema"}:
            system.append({"type": "text", "text": JSON_ONLY})


def _add_rest(made: Json, body: Json) -> None:
    """Add what concerns the request as a whole."""
    if body.get("stream") is not None:
        made["stream"] = body["stream"]
    tags = body.get("metadata") or {}
    user = body.get("user") or body.get("safety_identifier") or tags.get("user_id")
    if user and isinstance(user, str):
        made["metadata"] = {"user_id": user}
    if tier := body.get("service_tier"):
        made["service_tier"] = _TIERS.get(tier, "auto")


def _simplest(blocks: list[Json]) -> Any:
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return blocks[0]["text"]
    return blocks
