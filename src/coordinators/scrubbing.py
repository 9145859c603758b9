"""Masks secrets in what is about to be written: the configured ones, and whatever looks like one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, MutableMapping

MASK = "***"
SHORTEST = 6
"""A configured secret shorter than this is not looked for: it would mask parts of ordinary words."""

_MOST_DEPTH = 6
_SHORT = 120
_REMEMBERED = 1024

# The end of the name of what holds a secret: `x-api-key`, `OPENROUTER_API_KEY`.
_NAME = (
    r"(?i:api[_-]?keys?|admin[_-]keys?|auth[_-]?token|access[_-]?(?:token|key(?:[_-]id)?)|"
    r"secret(?:[_-]?access)?(?:[_-]?key)?|passw(?:or)?d|authorization|cookie|(?<![a-zA-Z])token)"
)
_VALUE = r"(?:(?i:bearer|basic)\s+)?[^\s\"'\\,;&}\])]{4,}"
_RULES = tuple(
    (sign, re.compile(pattern))
    for sign, pattern in (
        # a JSON string beside its name: all of it, spaces and escapes too
        ('"', rf'({_NAME}"\s*:\s*")(?:[^"\\]|\\.)+'),
        ("[", rf'(\[\s*"[\w-]{{0,30}}?{_NAME}"\s*,\s*")(?:[^"\\]|\\.)+'),
        # a header line, an assignment, a query, a Python repr, JSON within a string
        ("", rf"({_NAME}(?:(?:\\+\"|')\s*[:=]|\s*[:=])\s*(?:b?(?:\\+\"|'))?)" + _VALUE),
        ("'", rf"([(\[]b?'[\w-]{{0,30}}?{_NAME}',\s*b?')[^\s'\\]+"),
        ("bearer", r"(\b[bB][eE][aA][rR][eE][rR]\s+)[\w.~+/=-]{8,}"),
        ("://", r"(://[^/\s:@\"'\\]{0,100}:)[^/\s@\"'\\]{1,200}(?=@)"),
        ("sk-", r"sk-(?<!\wsk-)[\w-]{8,}"),
        ("dapi", r"dapi(?<!\wdapi)[0-9a-fA-F]{16,}(?:-\d+)?"),
        ("kia", r"AKIA(?<!\wAKIA)[A-Z0-9]{16}\b"),
        ("sia", r"ASIA(?<!\wASIA)[A-Z0-9]{16}\b"),
        ("aiza", r"AIza(?<!\wAIza)[\w-]{30,}"),
        ("gh", r"gh[pousr]_(?<!\wgh.{2})\w{20,}"),
        ("hg_", r"hg_(?<!\whg_)[\w-]{40,}"),
        ("eyj", r"eyJ(?<!\weyJ)[\w-]{8,}\.[\w-]{4,}\.[\w-]*"),
    )
)
"""What is looked for: a sign that must be in the text (lower case), and what is masked but for its group."""

# What a text must have, in lower case, for any rule to match: most have nothing of it.
_sign = re.compile(
    r"sk-|bearer|api|auth|secret|passw|cookie|access|admin|token(?!s)|a[ks]ia|aiza|eyj|gh[pousr]_|hg_|://"
).search


def without_password(address: str) -> str:
    """Give an address as it may be shown: without the name and the password that may be in it."""
    return re.sub(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", r"\1", address)


class Scrubber:
    """Masks the `secrets` it is given, and keys, tokens and passwords by form or by the name beside them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({one for one in secrets if len(one) >= SHORTEST}, key=len, reverse=True)
        self._short = lru_cache(_REMEMBERED)(self.text)

    def text(self, text: str) -> str:
        """Give the text with secrets masked."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        low = text.lower()
        if _sign(low):
            for sign, rule in _RULES:
                if sign in low:
                    text = rule.sub(_mask, text)
        return text

    def event(self, event: MutableMapping[str, Any], plain: Container[str] = ()) -> None:
        """Mask the values of a log line in place, but for those named in `plain`: ids and times of our own.

        Models, flows and texts come again and again: short ones are remembered.
        """
        for name, value in event.items():
            kind = type(value)
            if kind is str:
                if name in plain:
                    continue
                if _is_secret(name):
                    event[name] = MASK
                else:
                    event[name] = self._short(value) if len(value) <= _SHORT else self.text(value)
            elif kind is not int and kind is not float and kind is not bool and value is not None:
                event[name] = self.value(value)

    def value(self, value: Any, depth: int = 0) -> Any:
        """Give a value with the secrets of its strings masked; what has a secret's name is masked whole."""
        if isinstance(value, str):
            return self.text(value)
        if depth > _MOST_DEPTH:
            return MASK
        if isinstance(value, dict):
            return {
                self.text(str(name)): MASK
                if isinstance(one, str) and _is_secret(str(name))
                else self.value(one, depth + 1)
                for name, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(one, depth + 1) for one in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.text(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))


@lru_cache(_REMEMBERED)
def _is_secret(name: str) -> bool:
    return _named(name) is not None


_named = re.compile(rf"[\w-]*?{_NAME}").fullmatch


def _mask(found: re.Match[str]) -> str:
    return (found[1] if found.re.groups else "") + MASK
