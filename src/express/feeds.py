"""Which step's result fed which step, told by the identity of the objects.

Prefect's rule: a result and its components one level deep belong to the step that returned them
last. An argument is fed by the steps its own object, or one of its components, belongs to.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# Components beyond these are not looked at: a conversation has thousands of messages, a feed one.
COMPONENTS = 64

# CPython keeps one copy of each of these, shared by everybody: their identity says nothing.
_SINGLE = (
    None,
    True,
    False,
    ...,
    NotImplemented,
    "",
    b"",
    (),
    frozenset(),
    *range(-5, 257),
    *map(chr, range(256)),
)
_SHARED = frozenset(map(id, _SINGLE))
_WHOLE: set[type] = {str, bytes, int, float, bool, type(None)}
"""Types whose values have no parts that count; those that say so (`__fed_whole__ = True`) join once seen."""

_fields_of: dict[type, Callable[[Any], Iterable[Any]]] = {}


def components(value: object) -> Iterable[Any]:
    """List what `value` is made of, one level deep: the items of plain containers and dataclasses."""
    kind = type(value)
    if kind is tuple or kind is list:
        return value[:COMPONENTS]  # type: ignore[index,no-any-return]
    if kind is dict:
        return islice(value.values(), COMPONENTS)  # type: ignore[attr-defined]
    read = _fields_of.get(kind)
    if read is None:
        if getattr(kind, "__fed_whole__", False):
            _WHOLE.add(kind)
            return ()
        read = _fields_of[kind] = _reader(kind)
    return read(value)


def _reader(kind: type) -> Callable[[Any], Iterable[Any]]:
    """Give what reads a value's fields: in C where there are several and all of them are filled."""
    names = tuple(f.name for f in fields(kind)) if is_dataclass(kind) else ()
    if len(names) < 2:
        return lambda value: [getattr(value, name, None) for name in names]
    read: Callable[[Any], Iterable[Any]] = attrgetter(*names)

    def read_filled(value: Any) -> Iterable[Any]:
        try:
            return read(value)
        except AttributeError:  # a slot that was never filled is no component
            return [getattr(value, name, None) for name in names]

    return read_filled


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
        owners = self._owners
        if (key := id(result)) not in _SHARED:
            owners[key] = (result, owner)
        if type(result) not in _WHOLE:
            owners.update(
                {key: (part, owner) for part in components(result) if (key := id(part)) not in _SHARED}
            )

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
        """Name the steps that fed these arguments, each once, in the order of the arguments."""
        owners = self._owners
        if not owners:
            return ()
        owned = owners.__contains__
        found: dict[str, None] = {}
        for value in (*args, *kwargs.values()) if kwargs else args:
            if (entry := owners.get(id(value))) is not None:
                found[entry[1]] = None
            if type(value) not in _WHOLE:
                for key in filter(owned, map(id, components(value))):
                    found[owners[key][1]] = None
        return tuple(found)

    def clear(self) -> None:
        self._owners.clear()
