"""Small builders of Messages requests."""

from __future__ import annotations

import base64
from typing import Any

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(24)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(20)).decode()
GIF = base64.b64encode(b"GIF89a" + bytes(18)).decode()
WEBP = base64.b64encode(b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(20)).decode()
PDF = base64.b64encode(b"%PDF-1.7\n" + bytes(24)).decode()

EPHEMERAL = {"type": "ephemeral"}


def request(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    said = list(messages) or [user("hello")]
    return {"model": "claude-sonnet-4-5", "max_tokens": 1024, "messages": said, **fields}


def user(*content: Any) -> dict[str, Any]:
    return message("user", content)


def assistant(*content: Any) -> dict[str, Any]:
    return message("assistant", content)


def system(*content: Any, **fields: Any) -> dict[str, Any]:
    return message("system", content) | fields


def message(role: str, content: tuple[Any, ...]) -> dict[str, Any]:
    """Make a message: one string is its content, anything else is a list of blocks."""
    if len(content) == 1 and isinstance(content[0], str):
        return {"role": role, "content": content[0]}
    return {"role": role, "content": [text(one) if isinstance(one, str) else one for one in content]}


def text(said: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **fields}


def call(identity: str, name: str = "Read", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": identity, "name": name, "input": given}


def result(identity: str, *content: Any, **fields: Any) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": identity, **fields}
    if content:
        block["content"] = message("user", content)["content"]
    return block


def image(data: str = PNG, media_type: str = "image/png", **fields: Any) -> dict[str, Any]:
    return {
        "type": "image",
        "source": {"type": "base64", "media_type": media_type, "data": data},
        **fields,
    }


def document(source: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **fields}


def pdf(**fields: Any) -> dict[str, Any]:
    return document({"type": "base64", "media_type": "application/pdf", "data": PDF}, **fields)


def tool(name: str = "Read", schema: Any = None, **fields: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": {"type": "object"} if schema is None else schema, **fields}
