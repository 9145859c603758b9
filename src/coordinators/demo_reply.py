"""What the demo backend says: a request of either wire in, a `Reply` out, which `demo` puts on the wire."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import uuid4

import orjson

Json: TypeAlias = dict[str, Any]

MAX_DEPTH = 8
SAYS = "This is Headgate's demo backend, not a model; nothing left this machine."
HINT = "What else it does when asked is in docs/04-operations.md."
MORE = "Set OPENROUTER_API_KEY and start Headgate again to reach a real one."


@dataclass(slots=True)
class Reply:
    """What to say, before it takes the form of a wire."""

    text: str = ""
    reasoning: str = ""
    tool: tuple[str, Json] | None = None
    prompt_tokens: int = 0
    cut: bool = False  # max_tokens was reached
    fails: str = ""  # "midstream" or "cut": how the stream ends before its time
    id: str = field(default_factory=lambda: f"gen-{int(time.time())}-{uuid4().hex[:20]}")
    call_id: str = field(default_factory=lambda: f"toolu_{uuid4().hex[:24]}")

    @property
    def completion_tokens(self) -> int:
        """Count roughly: four characters a token."""
        called = orjson.dumps(self.tool[1]) if self.tool else b""
        return (len(self.text) + len(self.reasoning) + len(called)) // 4 + 1


class Refused(Exception):
    """The user asked for an error with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Headgate's demo backend answers {status}, as asked")
        self.status = status


def texts(content: Any) -> list[str]:
    """Read the texts of a message's content, tool results included."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return []
    return [text for block in content for text in texts(block.get("text") or block.get("content"))]


def question(messages: list[Json]) -> tuple[str, bool]:
    """Give the last thing said to the model, and whether that is a tool's result."""
    for message in reversed(messages):
        content = message["content"]
        blocks = content if isinstance(content, list) else []
        result = message["role"] == "tool" or any(block.get("type") == "tool_result" for block in blocks)
        said = [text for text in texts(content) if not text.startswith("<system-reminder>")]
        if message["role"] in ("user", "tool") and (said or result):
            return (said[-1] if said else ""), result
    return "", False


def offered(body: Json) -> dict[str, Json]:
    """Give the schemas of the tools that can be called, by name."""
    if body.get("tool_choice") in ("none", {"type": "none"}):
        return {}
    tools = [tool.get("function", tool) for tool in body.get("tools", []) if not tool.get("defer_loading")]
    schemas = {tool["name"]: tool.get("parameters") or tool.get("input_schema") for tool in tools}
    return {name: schema for name, schema in schemas.items() if schema}


def forced_tool(body: Json, tools: Json) -> str | None:
    """Name the tool that `tool_choice` demands: the one it names if it is offered, else the first."""
    choice = body.get("tool_choice")
    kind, named = choice, None
    if isinstance(choice, dict):
        kind, named = choice.get("type"), choice.get("name") or choice.get("function", {}).get("name")
    if kind not in ("any", "required", "tool", "function") or not tools:
        return None
    return named if named in tools else next(iter(tools))


def wanted_schema(body: Json) -> Json | None:
    """Give the JSON schema that the answer has to fulfil, if there is one."""
    ours = (body.get("output_config") or {}).get("format") or {}
    theirs = (body.get("response_format") or {}).get("json_schema") or {}
    schema: Json | None = ours.get("schema") or theirs.get("schema")
    return schema


def thinks(body: Json) -> bool:
    """Tell whether reasoning was asked for."""
    thinking, reasoning = body.get("thinking") or {}, body.get("reasoning") or {}
    return thinking.get("type") in ("enabled", "adaptive") or (
        bool(reasoning) and reasoning.get("enabled") is not False and reasoning.get("effort") != "none"
    )


def example(schema: Json, root: Json | None = None, depth: int = 0) -> Any:
    """Make a value that fulfils a JSON schema as far as its required properties go."""
    root = schema if root is None else root
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    inner = schema
    if str(schema.get("$ref", "")).startswith("#"):
        inner = root
        for step in filter(None, schema["$ref"][1:].split("/")):
            inner = inner.get(step, {})
    inner = next((schema[key][0] for key in ("anyOf", "oneOf", "allOf") if schema.get(key)), inner)
    if inner is not schema and depth < MAX_DEPTH:
        return example(inner, root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            properties = schema.get("properties", {})
            names = schema.get("required", []) if depth < MAX_DEPTH else []
            return {name: example(properties.get(name, {}), root, depth + 1) for name in names}
        case "array":
            count = schema.get("minItems", 0) if depth < MAX_DEPTH else 0
            return [example(schema.get("items", {}), root, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case "null":
            return None
    return (
        "https://example.com"
        if schema.get("format") == "uri"
        else "demo".ljust(schema.get("minLength", 0), ".")
    )


def reply_to(body: Json, size: int) -> Reply:
    """Decide on the answer; a wanted HTTP error is raised."""
    asked, is_result = question(body["messages"])
    reply = Reply(prompt_tokens=size // 4 + 1)
    error = None if is_result else re.search(r"demo error (\d{3}|midstream|cut)", asked)
    if error and error[1].isdecimal() and 400 <= int(error[1]) <= 599:
        raise Refused(int(error[1]))
    reply.fails = error[1] if error and not error[1].isdecimal() else ""
    if thinks(body):
        reply.reasoning = "The demo backend pretends to think about it for a moment."
    tools, schema = offered(body), wanted_schema(body)
    forced = forced_tool(body, tools)
    short = asked.strip()[:80]
    if forced:
        reply.text, reply.tool = f"{SAYS} It calls {forced} now.", (forced, example(tools[forced]))
    elif schema:
        reply.text = orjson.dumps(example(schema)).decode()
    elif is_result:
        reply.text = f"{SAYS} The tool answered: “{short}”. {MORE}"
    elif "demo tool" in asked and tools:
        name = next((name for name in tools if f"demo tool {name}" in asked), next(iter(tools)))
        reply.text, reply.tool = f"{SAYS} It calls {name} now.", (name, example(tools[name]))
    else:
        reply.text = f"{SAYS} You said: “{short}”. {MORE} {HINT}"
    most = body.get("max_tokens") or body.get("max_completion_tokens")
    if most and len(reply.text) > 4 * most:
        reply.text, reply.cut = reply.text[: 4 * most], True
    return reply


def pieces(text: str) -> list[str]:
    """Cut a text into words, as a model's stream does."""
    return re.findall(r"\s*\S+(?:\s+\Z)?|\s+", text)
