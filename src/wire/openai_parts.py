"""Chat content parts as Anthropic content blocks."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

from wire.chat_parts import marked
from wire.errors import InvalidRequest, UnsupportedContent
from wire.known import IMAGE_TYPES
from wire.media import check_media, is_base64

if TYPE_CHECKING:
    from wire.messages import Json

_PDF = "application/pdf"
NAMELESS = (None, "", "document.pdf")
"""The last is what `chat_parts` calls a document without a title."""


class Unsupported:
    """Takes what a chat backend can do and no Message can: refuses it, or keeps the refusals in `kept`.

    Kept, they leave a gap in what was converted, which is then of use for its other parts only.
    """

    __slots__ = ("kept",)

    def __init__(self, kept: list[UnsupportedContent] | None) -> None:
        self.kept = kept

    def refuse(self, at: str, why: str) -> None:
        """Refuse what is at `at`."""
        error = UnsupportedContent(f"{at}: {why}")
        if self.kept is None:
            raise error
        self.kept.append(error)


def blocks_of(content: str | list[Json], at: str, unsupported: Unsupported) -> list[Json]:
    """Render a message's content; empty texts, which Anthropic refuses, say nothing and go."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    blocks = []
    for place, part in enumerate(content):
        try:
            block = _block(part, f"{at}.{place}")
        except UnsupportedContent as error:
            unsupported.refuse(*error.message.split(": ", 1))
            continue
        if block is not None:
            blocks.append(marked(block, part))
    return blocks


def _block(part: Json, at: str) -> Json | None:
    match part["type"]:
        case "text" | "refusal" as kind:
            return {"type": "text", "text": part[kind]} if part[kind] else None
        case "image_url":
            return {"type": "image", "source": _image(part["image_url"]["url"], f"{at}.image_url.url")}
        case "file":
            return _file(part["file"], f"{at}.file")
        case other:
            raise UnsupportedContent(f"{at}: {other[:60]!r} parts have no form in an Anthropic message")


def _image(url: str, at: str) -> Json:
    media_type, data = _data_url(url, at)
    if not media_type:
        return {"type": "url", "url": url}
    if media_type not in IMAGE_TYPES:
        raise UnsupportedContent(f"{at}: images must be one of {', '.join(sorted(IMAGE_TYPES))}")
    _check(data, media_type, at)
    return {"type": "base64", "media_type": media_type, "data": data}


def _file(file: Json, at: str) -> Json:
    """Render a file: a PDF or text within the request, or at an address (OpenRouter takes those too)."""
    if "file_data" not in file or file["file_data"] is None:
        raise UnsupportedContent(
            f"{at}.file_id: files uploaded elsewhere cannot be read here; send file_data"
        )
    data = file["file_data"]
    media_type, inline = _data_url(data, f"{at}.file_data")
    if not media_type and not data.startswith(
        ("http://", "https://")
    ):  # bare base64, as some clients send it
        media_type, inline = _PDF, data
    document: Json = {"type": "document", "source": _source(media_type, inline, data, f"{at}.file_data")}
    if file.get("filename") not in NAMELESS:
        document["title"] = file["filename"]
    return document


def _source(media_type: str, inline: str, url: str, at: str) -> Json:
    if not media_type:
        return {"type": "url", "url": url}
    if media_type == _PDF:
        _check(inline, _PDF, at)
        return {"type": "base64", "media_type": _PDF, "data": inline}
    if media_type in IMAGE_TYPES:
        raise UnsupportedContent(f"{at}: send images as image_url parts")
    if not media_type.startswith("text/"):
        raise UnsupportedContent(f"{at}: {media_type[:60]!r} files have no form in an Anthropic message")
    if not is_base64(inline):
        raise InvalidRequest(f"{at}: not valid base64")
    try:
        text = binascii.a2b_base64(inline).decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{at}: the text is not UTF-8") from None
    return {"type": "text", "media_type": "text/plain", "data": text}


def _data_url(url: str, at: str) -> tuple[str, str]:
    """Split a data URL into media type and base64; another address is ("", "")."""
    if url[:5].lower() != "data:":
        return "", ""
    head, comma, data = url[5:].partition(",")
    media_type, *options = (word.strip() for word in head.lower().split(";"))
    if not comma or "base64" not in options:
        raise InvalidRequest(f"{at}: must be an address, or a data URL with base64")
    return media_type or "text/plain", data


def _check(data: str, media_type: str, at: str) -> None:
    """Check base64 and the bytes in it, with the path of the part that holds them."""
    try:
        check_media(data, media_type, at)
    except InvalidRequest as error:
        raise InvalidRequest(
            error.message.replace(f"{at}.data:", f"{at}:").replace(f"{at}.media_type:", f"{at}:")
        ) from None
