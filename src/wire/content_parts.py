"""Content that a chat backend gives as a list of parts, or beside the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.tool_calls import text_of

if TYPE_CHECKING:
    from wire.messages import Json

_SHORT = 200


def split_content(content: list[Any]) -> tuple[str, list[Json]]:
    """Split an array of parts (Databricks, Mistral) into its text and its reasoning details.

    A part of a type that has no place in a Message is named in the text.
    """
    texts: list[str] = []
    details: list[Json] = []
    for part in content:
        if not isinstance(part, dict):
            texts.append(text_of(part))
            continue
        match part.get("type"):
            case "reasoning":  # Databricks: {summary: [{type: summary_text, text, signature}]}
                details.extend(_details(part.get("summary")))
            case "thinking":  # Mistral: {thinking: [{type: text, text}]}
                details.extend(_details(part.get("thinking")))
            case "image_url":
                texts.append(image_note(part))
            case other:
                text = part.get("text")
                texts.append(
                    text if isinstance(text, str) else f"[the model answered with {other!r}: not shown]"
                )
    return "".join(texts), details


def image_note(image: Json) -> str:
    """Name an image of the answer in words: a Message of an assistant holds none.

    An address is given as a link; inline data is not, for it would fill the client's context with base64.
    """
    place = image.get("image_url")
    url = text_of(place.get("url")) if isinstance(place, dict) else text_of(place)
    if url.startswith("data:"):
        return f"[the model answered with an image ({url[5:].partition(';')[0][:_SHORT]}): not shown]"
    return f"![image]({url})"


def _details(pieces: Any) -> list[Json]:
    if isinstance(pieces, str):
        pieces = [{"text": pieces}]
    if not isinstance(pieces, list):
        return []
    return [
        {"type": "reasoning.text", "text": piece.get("text"), "signature": piece.get("signature")}
        for piece in pieces
        if isinstance(piece, dict)
    ]
