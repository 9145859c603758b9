"""A tool's arguments as the model wrote them, read as the anthropic SDK's accumulator reads them.

So a whole answer says what the SDK makes of its stream: arguments that end early are kept as far as they go,
and JSON that is no object passes as it is. Only what the SDK fails on is an error.
"""

from __future__ import annotations

from typing import Any

import jiter
import orjson

from wire.errors import UpstreamFailed

_DEEP = 190
"""jiter reads 200 levels, orjson more: arguments that may be deeper are tried with both."""


def read_input(arguments: str, name: str) -> Any:
    """Parse the arguments of a call of the tool `name`; raises UpstreamFailed if the SDK could not."""
    if not arguments:
        return {}
    try:
        parsed = orjson.loads(arguments)
    except ValueError:
        parsed = _as_far_as_it_goes(arguments, name)
        return _written(parsed, name)
    if arguments.count("{") + arguments.count("[") > _DEEP:
        _as_far_as_it_goes(arguments, name)
    return parsed


def _as_far_as_it_goes(arguments: str, name: str) -> Any:
    try:
        return jiter.from_json(arguments.encode("utf-8", "replace"), partial_mode=True)
    except ValueError as error:
        deep = "recursion" in str(error)
        how = "nested too deep" if deep else "that are no JSON"
        raise UpstreamFailed(f"the model called the tool {name!r} with arguments {how}") from error


def _written(parsed: Any, name: str) -> Any:
    """Give what goes out: jiter reads NaN, which is written as null, and numbers that orjson cannot write."""
    try:
        return orjson.loads(orjson.dumps(parsed))
    except TypeError as error:
        told = f"the model called the tool {name!r} with a number of more than 64 bits"
        raise UpstreamFailed(told) from error
