"""An Anthropic Messages request as a Gemini generateContent request.

It goes by way of the chat request: that has every call answered, in order, and everything without a form of
its own told as text or refused. What is left is to say chat messages in Gemini's words.
"""

from __future__ import annotations

import re
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any

import orjson

from wire.chat_request import to_chat
from wire.chat_turns import FAILED
from wire.errors import UnsupportedContent

if TYPE_CHECKING:
    from wire.messages import Json
    from wire.names import ToolNames

GEMINI_FORMAT = "google-gemini-v1"
"""OpenRouter's name for the form of Gemini's reasoning; ours too, so that either goes back to the model."""

EFFORTS = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
"""What Google's own OpenAI endpoint makes of an effort for models before Gemini 3: these know budgets."""

_CONFIG = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "stop": "stopSequences",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
_knows_levels = re.compile(r"gemini-(?:[3-9]|\d\d)").search


def to_gemini(body: Json, *, model: str) -> tuple[Json, ToolNames]:
    """Render a checked request for Gemini's `model`; `body` stays as it is.

    The names lead back from Gemini's tool names to the client's. What has no form is UnsupportedContent with
    its path. Left out is what only concerns Anthropic's or OpenRouter's servers, cache breakpoints (Gemini
    caches by itself), and `disable_parallel_tool_use`.
    """
    chat, names = to_chat(body, model=model)
    system, contents = contents_of(chat["messages"])
    gemini: Json = {"contents": contents}
    if system:
        gemini["systemInstruction"] = {"parts": system}
    if tools := _tools(chat):
        gemini["tools"] = tools
    if (choice := chat.get("tool_choice")) is not None:
        gemini["toolConfig"] = {"functionCallingConfig": _calling(choice)}
    config = {field: chat[name] for name, field in _CONFIG.items() if name in chat}
    config |= _format(chat.get("response_format"))
    if thinking := _thinking(chat, model):
        config["thinkingConfig"] = thinking
    if config:
        gemini["generationConfig"] = config
    if body.get("safety_settings"):
        gemini["safetySettings"] = body["safety_settings"]
    return gemini, names


def contents_of(messages: list[Json]) -> tuple[list[Json], list[Json]]:
    """Give the parts of the system instruction, and the contents, in which users and the model alternate."""
    system: list[Json] = []
    contents: list[Json] = []
    called: dict[str, str] = {}
    for message in messages:
        match message["role"]:
            case "system" if not contents:
                system += _parts(message["content"])
            case "assistant":
                called = {call["id"]: call["function"]["name"] for call in message.get("tool_calls", ())}
                _append(contents, "model", _model_parts(message))
            case "tool":
                _append(contents, "user", [_response(message, called[message["tool_call_id"]])])
            case "system":
                said = "\n".join(part["text"] for part in _parts(message["content"]))
                _append(contents, "user", [{"text": f"<system>\n{said}\n</system>"}])
            case _:
                _append(contents, "user", _parts(message["content"]))
    return system, contents


def _append(contents: list[Json], role: str, parts: list[Json]) -> None:
    if contents and contents[-1]["role"] == role:
        contents[-1]["parts"] += parts
    else:
        contents.append({"role": role, "parts": parts})


def _parts(content: str | list[Json]) -> list[Json]:
    return [{"text": content}] if isinstance(content, str) else [_part(part) for part in content]


def _part(part: Json) -> Json:
    """Say one chat part in Gemini's words; `wire.chat_parts` makes no other kinds."""
    match part["type"]:
        case "text":
            return {"text": part["text"]}
        case "image_url":
            return _data(part["image_url"]["url"], {}, "")
        case _:
            file = part["file"]
            return _data(file["file_data"], {"displayName": file["filename"]}, "application/pdf")


def _data(url: str, named: Json, otherwise: str) -> Json:
    """Give bytes as `inlineData`, an address as `fileData`; its type is told only where it can be known."""
    if url.startswith("data:"):
        kind, _, data = url[5:].partition(";base64,")
        return {"inlineData": {"mimeType": kind, "data": data, **named}}
    mime_type = otherwise or guess_type(url.partition("?")[0])[0]
    return {"fileData": {"fileUri": url, **({"mimeType": mime_type} if mime_type else {})}}


def _response(message: Json, name: str) -> Json:
    content = message["content"]
    text = content if isinstance(content, str) else "\n\n".join(part["text"] for part in content)
    field = "error" if text.startswith(FAILED) else "output"
    told = text.removeprefix(FAILED).removeprefix("\n") if field == "error" else text
    return {"functionResponse": {"id": message["tool_call_id"], "name": name, "response": {field: told}}}


def _model_parts(message: Json) -> list[Json]:
    """Give what the model thought, said and called, each signature on the part that it was on."""
    parts: list[Json] = []
    signatures: dict[str, str] = {}
    of_text = ""
    for detail in message.get("reasoning_details", ()):
        match detail:
            case {"type": "reasoning.text", "text": text}:
                thought: Json = {"text": text, "thought": True}
                if detail.get("signature"):
                    thought["thoughtSignature"] = detail["signature"]
                parts.append(thought)
            case {"type": "reasoning.encrypted", "data": data, "id": str(identity)}:
                signatures[identity] = data
            case {"type": "reasoning.encrypted", "data": data}:
                of_text = data
    said = _parts(message["content"] or [])
    if of_text:
        if not said:
            said.append({"text": ""})
        said[-1]["thoughtSignature"] = of_text
    return parts + said + [_call(call, signatures) for call in message.get("tool_calls", ())]


def _call(call: Json, signatures: dict[str, str]) -> Json:
    function = call["function"]
    made: Json = {
        "functionCall": {
            "id": call["id"],
            "name": function["name"],
            "args": orjson.loads(function["arguments"]),
        }
    }
    if call["id"] in signatures:
        made["thoughtSignature"] = signatures[call["id"]]
    return made


def _tools(chat: Json) -> list[Json]:
    tools: list[Json] = []
    declared = [_declaration(tool["function"]) for tool in chat.get("tools", ())]
    if declared:
        tools.append({"functionDeclarations": declared})
    for place, plugin in enumerate(chat.get("plugins", ())):
        if plugin.keys() - {"id", "max_uses"} or plugin["id"] != "web":
            raise UnsupportedContent(f"plugins.{place}: Gemini searches the web without such limits only")
        tools.append({"googleSearch": {}})
    return tools


def _declaration(function: Json) -> Json:
    told = {"description": function["description"]} if "description" in function else {}
    return {"name": function["name"], **told, "parametersJsonSchema": function["parameters"]}


def _calling(choice: Any) -> Json:
    match choice:
        case "required":
            return {"mode": "ANY"}
        case str():
            return {"mode": choice.upper()}
        case _:
            return {"mode": "ANY", "allowedFunctionNames": [choice["function"]["name"]]}


def _format(wanted: Json | None) -> Json:
    match wanted:
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return {"responseMimeType": "application/json", "responseJsonSchema": schema}
        case {"type": "json_object"}:
            return {"responseMimeType": "application/json"}
        case _:
            return {}


def _thinking(chat: Json, model: str) -> Json:
    """Give `thinkingConfig`: a level where the model knows levels, else the budget for the effort."""
    reasoning = chat.get("reasoning") or {}
    effort = reasoning.get("effort") or chat.get("reasoning_effort")
    shown = {} if reasoning.get("exclude") else {"includeThoughts": True}
    if reasoning.get("enabled") is False or effort == "none":
        return {"thinkingLevel": "MINIMAL"} if _knows_levels(model) else {"thinkingBudget": 0}
    if reasoning.get("max_tokens"):
        return {"thinkingBudget": reasoning["max_tokens"], **shown}
    if effort in EFFORTS:
        if _knows_levels(model):
            return {"thinkingLevel": EFFORTS[effort], **shown}
        return {"thinkingBudget": BUDGETS[effort], **shown}
    return shown if reasoning.get("enabled") else {}
