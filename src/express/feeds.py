"""Which step's result fed which step, told by the identity of the objects.

Prefect's rule: a result and its components one level deep belong to the step that returned them
last. An argument is fed by the steps its own object, or one of its components, belongs to.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Components beyond these are not looked at: a conversation has thousands of messages, a feed one.
COMPONENTS = 64

# Shared by everybody, so their identity says nothing: None, True, and the integers and empty
# values that CPython keeps one copy of.
_SHARED = frozenset(map(id, (None, True, False, ..., NotImplemented, (), "", b"", frozenset())))
_SMALL = range(-5, 257)

_field_names: dict[type, tuple[str, ...]] = {}


def components(value: object) -> Iterable[Any]:
    """List what `value` is made of, one level deep; nothing for anything but the plain containers."""
    kind = type(value)
    if kind is dict:
        return list(value.values())[:COMPONENTS]  # type: ignore[attr-defined]
    if kind is tuple or kind is list:
        return value[:COMPONENTS]  # type: ignore[index,no-any-return]
    names = _field_names.get(kind)
    if names is None:
        names = tuple(f.name for f in fields(kind)) if is_dataclass(kind) else ()
        _field_names[kind] = names
    # a slot that was never filled is no component
    return [getattr(value, name, None) for name in names] if names else ()


class Feeds:
    """The results of one run's steps while the run's function is under way.

    The table holds the objects themselves: as long as it does, an id in it cannot be anybody
    else's. `clear` lets go of them.
    """

    __slots__ = ("_owners",)

    def __init__(self) -> None:
        self._owners: dict[int, tuple[object, str]] = {}

    def add(self, result: object, owner: str) -> None:
        """Say that the step `owner` returned `result`."""
        if id(result) in _SHARED:
            return
        self._own(result, owner)
        for part in components(result):
            self._own(part, owner)

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
        """Name the steps that fed these arguments, each once, in the order of the arguments."""
        owners = self._owners
        if not owners:
            return ()
        found: dict[str, None] = {}
        for value in (*args, *kwargs.values()) if kwargs else args:
            entry = owners.get(id(value))
            if entry is not None:
                found[entry[1]] = None
            for part in components(value):
                entry = owners.get(id(part))
                if entry is not None:
                    found[entry[1]] = None
        return tuple(found)

    def clear(self) -> None:
        self._owners.clear()

    def _own(self, value: object, owner: str) -> None:
        if id(value) in _SHARED or (type(value) is int and value in _SMALL):
            return
        self._owners[id(value)] = (value, owner)
