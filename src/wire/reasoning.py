"""A chat backend's reasoning, piece by piece: `reasoning_details` as OpenRouter streams them.

A detail is `{type, text|summary|data, signature, id, format, index}`. Text and summaries come in pieces of
one index; the signature often comes alone, after the text it signs. Encrypted data comes whole, and several
pieces may share an index (Gemini signs each tool call), so that it is never joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wire.messages import Json

_SHOWN = {"reasoning.text": "text", "reasoning.summary": "summary"}
_SAYS_NOTHING = {"type", "format", "index", "id"}


def details_of(value: Any) -> list[Json]:
    """Pick the details that say something from a delta's or message's `reasoning_details`."""
    if not isinstance(value, list):
        return []
    return [piece for piece in value if isinstance(piece, dict) and (piece.get("text") or _says(piece))]


def shown_text(details: list[Json]) -> str:
    """Give what a person may read of the details."""
    if len(details) == 1:  # nearly always
        return _text(details[0])
    return "".join(map(_text, details))


def joined(pieces: Iterable[Json]) -> list[Json]:
    """Join the pieces of a block: text with the text it continues, a signature with the text it signs."""
    whole: list[Json] = []
    texts: list[list[str]] = []
    for piece in pieces:
        said = {name: value for name, value in piece.items() if value is not None}
        if whole and _continues(whole[-1], said):
            whole[-1].update(said)
            texts[-1].append(_text(said))
        else:
            whole.append(said)
            texts.append([_text(said)])
    for detail, parts in zip(whole, texts, strict=True):
        if text := "".join(parts):
            detail[_SHOWN[detail["type"]]] = text
    return whole


def _says(piece: Json) -> bool:
    return any(piece[name] for name in piece.keys() - _SAYS_NOTHING)


def _text(piece: Json) -> str:
    text = piece.get(_SHOWN.get(str(piece.get("type")), ""))
    return text if isinstance(text, str) else ""


def _continues(last: Json, piece: Json) -> bool:
    """Whether `piece` goes on with `last`: what follows a signature is something new."""
    if str(piece.get("type")) not in _SHOWN or (last.get("signature") and _text(piece)):
        return False
    if last.get("type") != piece.get("type") or last.get("index") != piece.get("index"):
        return False
    return last.get("id") == piece.get("id") or None in (last.get("id"), piece.get("id"))
