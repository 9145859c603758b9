from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from express.feeds import COMPONENTS, Feeds


@dataclass
class Pair:
    left: Any
    right: Any


@dataclass(slots=True)
class Unfilled:
    value: Any


@dataclass(slots=True)
class Sealed:
    __fed_whole__: ClassVar[bool] = True
    value: Any
    other: Any


@dataclass(slots=True)
class HalfFilled:
    value: Any
    other: Any


def fed(feeds: Feeds, *args: Any, **kwargs: Any) -> tuple[str, ...]:
    return feeds.of(args, kwargs)


def test_an_argument_is_fed_by_the_step_that_returned_it() -> None:
    feeds, result = Feeds(), object()
    assert fed(feeds, result) == ()
    feeds.add(result, "a-0")
    assert fed(feeds, result) == ("a-0",)
    assert fed(feeds, key=result) == ("a-0",)
    assert fed(feeds, object()) == ()


def test_components_are_followed_one_level_deep_on_both_sides() -> None:
    feeds, deep = Feeds(), object()
    parts = [object() for _ in range(4)]
    feeds.add((parts[0], [deep]), "tuple-0")
    feeds.add({"k": parts[1]}, "dict-0")
    feeds.add(Pair(parts[2], 1), "pair-0")
    feeds.add([parts[3]], "list-0")
    assert [fed(feeds, part) for part in parts] == [("tuple-0",), ("dict-0",), ("pair-0",), ("list-0",)]
    assert fed(feeds, [parts[0]], {"x": parts[1]}, Pair(parts[2], parts[3])) == (
        "tuple-0",
        "dict-0",
        "pair-0",
        "list-0",
    )
    assert fed(feeds, deep) == ()


def test_the_last_step_to_return_an_object_owns_it_and_each_is_named_once() -> None:
    feeds, passed_on = Feeds(), object()
    feeds.add(passed_on, "first-0")
    feeds.add(passed_on, "second-0")
    assert fed(feeds, passed_on, [passed_on]) == ("second-0",)


def test_objects_that_everybody_shares_say_nothing() -> None:
    feeds = Feeds()
    for shared in (None, True, 0, 256, "", (), b""):
        feeds.add([shared], "a-0")
        feeds.add(shared, "a-0")
        assert fed(feeds, shared) == ()


def test_only_the_first_components_of_a_long_list_are_looked_at() -> None:
    feeds = Feeds()
    parts = [object() for _ in range(COMPONENTS + 1)]
    feeds.add(parts, "many-0")
    assert fed(feeds, parts[0]) == ("many-0",)
    assert fed(feeds, parts[-1]) == ()


def test_a_slot_never_filled_is_no_component() -> None:
    feeds, empty = Feeds(), Unfilled.__new__(Unfilled)
    feeds.add(empty, "a-0")
    assert fed(feeds, empty) == ("a-0",)
    half, value = HalfFilled.__new__(HalfFilled), object()
    half.value = value
    feeds.add(half, "b-0")
    assert fed(feeds, value) == ("b-0",)


def test_what_is_taken_whole_is_not_looked_into() -> None:
    feeds, part = Feeds(), object()
    sealed = Sealed(part, 1)
    feeds.add(sealed, "a-0")
    for _ in range(2):
        assert fed(feeds, sealed) == ("a-0",)
        assert fed(feeds, part) == ()
    feeds.add(part, "b-0")
    assert fed(feeds, sealed) == ("a-0",)
    assert fed(feeds, [sealed]) == ("a-0",)


def test_what_is_cleared_is_let_go() -> None:
    feeds, result = Feeds(), object()
    feeds.add(result, "a-0")
    feeds.clear()
    assert fed(feeds, result) == ()
