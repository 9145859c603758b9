"""What a value may be: small rules that check it and can say what they ask for.

A rule refuses with the path of what is wrong (`provider.sort: must be one of …`). Objects are open: fields
that a rule does not name pass, because the APIs add to them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wire.check_blocks import a_list, an_object, wrong
from wire.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Rule:
    """`says` what a value must be; `check(value, path)` raises InvalidRequest if it is not.

    `plain` says that a header or a variable gives the value as it is, not as JSON.
    """

    says: str
    check: Callable[[Any, str], None]
    plain: bool = False


def number(low: float, high: float) -> Rule:
    """Take a number from `low` to `high`."""
    return Rule(f"a number from {low:g} to {high:g}", _within(low, high, (int, float), "a number"))


def integer(low: int, high: int) -> Rule:
    """Take a whole number from `low` to `high`."""
    says = f"an integer from {low:,} to {high:,}" if high < 2**31 else "an integer"
    return Rule(says, _within(low, high, (int,), "an integer"))


def amount() -> Rule:
    """Take a number of 0 or more, or a string that writes one, as exact amounts of money come."""

    def check(value: Any, at: str) -> None:
        is_text = type(value) is str
        if not is_text and type(value) not in {int, float}:
            raise wrong(at, "a number", value)
        if is_text and not _digits(value):
            raise InvalidRequest(f"{at}: must be a number")
        if float(value) < 0:
            raise InvalidRequest(f"{at}: must not be negative")

    return Rule("a number of 0 or more", check)


_digits = re.compile(r"-?\d{1,15}(\.\d{1,15})?", re.ASCII).fullmatch


def _within(low: float, high: float, types: tuple[type, ...], what: str) -> Callable[[Any, str], None]:
    def check(value: Any, at: str) -> None:
        if type(value) not in types:  # a boolean is no number
            raise wrong(at, what, value)
        if not low <= value <= high:
            raise InvalidRequest(f"{at}: must be between {low:g} and {high:g}")

    return check


def text(longest: int | None = None) -> Rule:
    """Take a string that says something, of at most `longest` characters."""

    def check(value: Any, at: str) -> None:
        if type(value) is not str:
            raise wrong(at, "a string", value)
        if not value:
            raise InvalidRequest(f"{at}: must not be empty")
        if longest is not None and len(value) > longest:
            raise InvalidRequest(f"{at}: must not be longer than {longest} characters")

    return Rule(
        "a string" if longest is None else f"a string of up to {longest} characters", check, plain=True
    )


def one_of(*choices: str) -> Rule:
    """Take one of some words."""
    listed = ", ".join(choices)

    def check(value: Any, at: str) -> None:
        if type(value) is not str:
            raise wrong(at, "a string", value)
        if value not in choices:
            raise InvalidRequest(f"{at}: must be one of {listed}")

    return Rule(listed.replace(", ", " | "), check, plain=True)


def flag() -> Rule:
    """Take true or false."""

    def check(value: Any, at: str) -> None:
        if type(value) is not bool:
            raise wrong(at, "a boolean", value)

    return Rule("true or false", check)


def list_of(each: Rule) -> Rule:
    """Take a list whose items all keep one rule."""

    def check(value: Any, at: str) -> None:
        for place, one in enumerate(a_list(value, at)):
            each.check(one, f"{at}.{place}")

    return Rule(f"a list; each {each.says}", check)


def pair(low: float, high: float) -> Rule:
    """Take two numbers, the lower one first."""
    each = number(low, high)

    def check(value: Any, at: str) -> None:
        for place, one in enumerate(a_list(value, at, "a pair of numbers")):
            each.check(one, f"{at}.{place}")
        if len(value) != 2 or value[0] > value[1]:
            raise InvalidRequest(f"{at}: must be two numbers, the lower one first")

    return Rule(f"a pair [low, high] of numbers from {low:g} to {high:g}", check)


def table(fields: Mapping[str, Rule] | None = None) -> Rule:
    """Take an object; the `fields` named keep their rules where they are there and not null."""
    known = dict(fields or {})

    def check(value: Any, at: str) -> None:
        for name, one in an_object(value, at).items():
            if one is not None and (rule := known.get(name)) is not None:
                rule.check(one, f"{at}.{name}")

    inner = "; ".join(f"`{name}`: {rule.says}" for name, rule in known.items())
    return Rule(f"an object ({inner})" if inner else "an object", check)


def map_of(each: Rule) -> Rule:
    """Take an object whose values all keep one rule."""

    def check(value: Any, at: str) -> None:
        for name, one in an_object(value, at).items():
            each.check(one, f"{at}.{name}")

    return Rule(f"an object; each value {each.says}", check)


def either(simple: Rule, rich: Rule) -> Rule:
    """Take an object that keeps the `rich` rule, or anything else that keeps the `simple` one."""

    def check(value: Any, at: str) -> None:
        (rich if type(value) is dict else simple).check(value, at)

    return Rule(f"{simple.says}, or {rich.says}", check)
