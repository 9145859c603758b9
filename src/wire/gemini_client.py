"""A Gemini generateContent request, as Google's clients send it, as an Anthropic Messages request.

It is checked on the way: paths are those of the client's body (`contents.3.parts.0.functionCall`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wire.body import DEEPEST
from wire.check_blocks import a_list, a_string, an_object
from wire.check_tools import check_any_schema, check_schema
from wire.errors import InvalidRequest, UnsupportedContent
from wire.gemini_turns import turns_of
from wire.openai_check import a_count, a_number
from wire.openai_request import JSON_ONLY, MOST_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from wire.messages import Json

_REFUSED = ("responseLogprobs", "logprobs", "speechConfig", "audioTimestamp", "routingConfig")
_THE_CLIENTS_OWN = frozenset(
    {"args", "default", "enum", "parametersJsonSchema", "response", "responseJsonSchema", "safetySettings"}
)
_after_underscore = re.compile(r"(?<=[a-z0-9])_([a-z])").sub
_LEVELS = {"MINIMAL": "low", "LOW": "low", "MEDIUM": "medium", "HIGH": "high", "XHIGH": "xhigh"}
_COUNTS = frozenset({"maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties"})
_NOT_JSON_SCHEMA = frozenset({"nullable", "propertyOrdering", "example"})


def from_gemini(request: Json, *, model: str) -> Json:
    """Render a generateContent request for `model` as a Messages request; `request` stays as it is.

    InvalidRequest and UnsupportedContent begin with the path of what is wrong, or has no form.
    """
    request = camelled(request)
    system = _system(request.get("systemInstruction"))
    made: Json = {
        "model": model,
        "max_tokens": MOST_TOKENS,
        "messages": turns_of(request.get("contents"), model),
    }
    if request.get("cachedContent"):
        raise UnsupportedContent("cachedContent: what is kept on Google's servers cannot be read here")
    tools = _tools(a_list(request.get("tools") or [], "tools"))
    choice, allowed = _choice(request.get("toolConfig"))
    if allowed is not None:
        tools = [tool for tool in tools if tool["name"] in allowed]
    if tools:
        made["tools"] = tools
        made |= {"tool_choice": choice} if choice else {}
    _configure(made, system, an_object(request.get("generationConfig") or {}, "generationConfig"))
    if request.get("safetySettings"):
        made["safety_settings"] = request["safetySettings"]
    if system:
        made["system"] = system[0] if len(system) == 1 else [{"type": "text", "text": one} for one in system]
    return made


def camelled(value: Any, depth: int = 0) -> Any:
    """Copy a request with its fields' names in camel case: Google takes both, and its own SDK mixes them.

    What is the client's own, such as arguments and JSON schemas, stays as it is.
    """
    if depth > DEEPEST:
        raise InvalidRequest("body: nested too deeply")
    if isinstance(value, list):
        return [camelled(one, depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    made: Json = {}
    for key, one in value.items():
        name = _after_underscore(_capital, key)
        if name in _THE_CLIENTS_OWN:
            made[name] = one
        elif name == "properties" and isinstance(one, dict):
            made[name] = {own: camelled(inner, depth + 1) for own, inner in one.items()}
        else:
            made[name] = camelled(one, depth + 1)
    return made


def _capital(found: re.Match[str]) -> str:
    return found[1].upper()


def _system(value: Any) -> list[str]:
    """Give the texts of the system instruction: a content, or a string as some clients send it."""
    if value is None or isinstance(value, str):
        return [value] if value else []
    at = "systemInstruction.parts"
    parts = a_list(an_object(value, "systemInstruction").get("parts"), at)
    texts = [
        a_string(an_object(part, f"{at}.{n}").get("text"), f"{at}.{n}.text") for n, part in enumerate(parts)
    ]
    return [text for text in texts if text]


def _tools(tools: list[Any]) -> list[Json]:
    made: list[Json] = []
    for place, tool in enumerate(tools):
        at = f"tools.{place}"
        for kind, value in an_object(tool, at).items():
            match kind:
                case "functionDeclarations":
                    where = f"{at}.{kind}"
                    made += [_tool(one, f"{where}.{n}") for n, one in enumerate(a_list(value, where))]
                case "googleSearch" | "googleSearchRetrieval":
                    made.append({"type": "web_search_20250305", "name": "web_search"})
                case _:
                    raise UnsupportedContent(
                        f"{at}.{kind[:60]}: is Google's own tool and has no Anthropic form"
                    )
    names = [tool["name"] for tool in made]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequest(f"tools: tool names must be unique, and {repeated[:128]!r} is not")
    return made


def _tool(declaration: Any, at: str) -> Json:
    name = a_string(an_object(declaration, at).get("name"), f"{at}.name")
    if not name:
        raise InvalidRequest(f"{at}.name: must not be empty")
    made: Json = {"name": name}
    if declaration.get("description"):
        made["description"] = a_string(declaration["description"], f"{at}.description")
    if (schema := declaration.get("parametersJsonSchema")) is None:
        schema = json_schema(declaration.get("parameters") or {})
    check_schema(schema, f"{at}.parameters")
    made["input_schema"] = {"type": "object"} | schema
    return made


def json_schema(schema: Any) -> Any:
    """Give Gemini's OpenAPI schema as a JSON schema: small types, null as a type, counts as numbers."""
    if isinstance(schema, list):
        return [json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made: Json = {}
    for key, value in schema.items():
        match key, value:
            case "type", str():
                kind = value.lower()
                made[key] = [kind, "null"] if schema.get("nullable") is True else kind
            case "properties", dict():
                made[key] = {name: json_schema(one) for name, one in value.items()}
            case _, str() if key in _COUNTS and value.isdecimal():
                made[key] = int(value)
            case (("enum" | "required" | "default" | "description"), _):
                made[key] = value
            case _ if key not in _NOT_JSON_SCHEMA:
                made[key] = json_schema(value)
    return made


def _choice(config: Any) -> tuple[Json | None, set[str] | None]:
    """Give `tool_choice`, and the names of the only tools that may be called, if some may not."""
    at = "toolConfig.functionCallingConfig"
    calling = an_object(an_object(config or {}, "toolConfig").get("functionCallingConfig") or {}, at)
    allowed = a_list(calling.get("allowedFunctionNames") or [], f"{at}.allowedFunctionNames")
    names = {a_string(name, f"{at}.allowedFunctionNames.{place}") for place, name in enumerate(allowed)}
    match calling.get("mode", "AUTO"):
        case "ANY" if len(names) == 1:
            return {"type": "tool", "name": allowed[0]}, None
        case "ANY":
            return {"type": "any"}, names or None
        case "NONE":
            return {"type": "none"}, None
        case "AUTO" | "VALIDATED" | "MODE_UNSPECIFIED":
            return None, names or None
        case _:
            raise InvalidRequest(f"{at}.mode: must be AUTO, ANY, NONE or VALIDATED")


def _configure(made: Json, system: list[str], config: Json) -> None:
    """Say `generationConfig` in Anthropic's words."""
    at = "generationConfig"
    for field in _REFUSED:
        if config.get(field):
            raise UnsupportedContent(f"{at}.{field}: has no form in an Anthropic request")
    if (config.get("candidateCount") or 1) != 1:
        raise UnsupportedContent(f"{at}.candidateCount: a Message is one answer; ask again for another")
    modalities = a_list(config.get("responseModalities") or [], f"{at}.responseModalities")
    for place, modality in enumerate(modalities):
        if modality != "TEXT":
            raise UnsupportedContent(f"{at}.responseModalities.{place}: a Message is text")
    if (limit := config.get("maxOutputTokens")) is not None:
        made["max_tokens"] = a_count(limit, f"{at}.maxOutputTokens")
    for field, (name, check) in _CONFIG.items():
        if (value := config.get(field)) is not None:
            check(value, f"{at}.{field}")
            made[name] = value
    if "temperature" in made:
        made["temperature"] = min(made["temperature"], 1)
    if "top_k" in made:
        made["top_k"] = int(made["top_k"])
    _add_format(made, system, config)
    _add_thinking(made, an_object(config.get("thinkingConfig") or {}, f"{at}.thinkingConfig"))


def _add_format(made: Json, system: list[str], config: Json) -> None:
    schema = config.get("responseJsonSchema") or json_schema(config.get("responseSchema"))
    if schema:
        check_any_schema(
            an_object(schema, "generationConfig.responseJsonSchema"), "generationConfig.responseJsonSchema"
        )
        made["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    elif config.get("responseMimeType") == "application/json":
        system.append(JSON_ONLY)


def _add_thinking(made: Json, config: Json) -> None:
    """Say how much to think; -1 leaves that to the model. What is not to be shown is omitted."""
    budget = config.get("thinkingBudget")
    level = a_string(config.get("thinkingLevel") or "", "generationConfig.thinkingConfig.thinkingLevel")
    if budget == 0:
        made["thinking"] = {"type": "disabled"}
        return
    if isinstance(budget, int) and budget > 0:
        made["thinking"] = {"type": "enabled", "budget_tokens": budget}
    elif level in _LEVELS:
        made["thinking"] = {"type": "adaptive"}
        made["output_config"] = {**made.get("output_config", {}), "effort": _LEVELS[level]}
    elif budget == -1 or config.get("includeThoughts"):
        made["thinking"] = {"type": "adaptive"}
    if "thinking" in made and config.get("includeThoughts") is False:
        made["thinking"]["display"] = "omitted"


def _check_stops(value: Any, at: str) -> None:
    for place, one in enumerate(a_list(value, at)):
        if not a_string(one, f"{at}.{place}").strip():
            raise UnsupportedContent(f"{at}.{place}: Anthropic takes no stop sequence of white space only")


_CONFIG: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "temperature": ("temperature", lambda value, at: a_number(value, at, 2)),
    "topP": ("top_p", lambda value, at: a_number(value, at, 1)),
    "topK": ("top_k", lambda value, at: a_number(value, at, 2**31)),
    "stopSequences": ("stop_sequences", _check_stops),
    "seed": ("seed", lambda value, at: a_number(value, at, 2**31, -(2**31))),
    "frequencyPenalty": ("frequency_penalty", lambda value, at: a_number(value, at, 2, -2)),
    "presencePenalty": ("presence_penalty", lambda value, at: a_number(value, at, 2, -2)),
}
