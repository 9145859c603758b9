"""Where in the code an error came from, and the hash that groups errors of the same place.

The hash is of what stays when code moves: module, function, the line's own text and the error's type. So
it is the same after a restart and on another machine, and `scan` can compute it from the source alone.
"""

from __future__ import annotations

import hashlib
import linecache
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, TracebackType

PACKAGES = ("wire", "express", "tasks", "flows", "coordinators", "routers", "headgate")
"""The packages whose frames are ours; others of the same folder (site-packages) are not."""

ROOT = Path(__file__).resolve().parents[1]
HASH_LENGTH = 12

_MOST_KNOWN = 4096
_OURS = re.compile(re.escape(f"{ROOT}/") + rf"((?:{'|'.join(PACKAGES)})/.+)\.py")
# Python 3.12 and later run comprehensions within the function; earlier ones name them.
_COMPREHENSION = re.compile(r"\.<locals>\.<(?:listcomp|setcomp|dictcomp)>")


@dataclass(frozen=True, slots=True)
class Origin:
    """A place that raised a type of error; `file` is within the package folder where the code is ours."""

    hash: str
    type: str
    module: str
    function: str
    file: str
    line: int
    code: str


def hash_of(module: str, function: str, code: str, error_type: str) -> str:
    """Give 12 hexadecimal digits for a place: `code` is the text of its line."""
    told = "\0".join((module, function, " ".join(code.split()), error_type))
    return hashlib.sha256(told.encode()).hexdigest()[:HASH_LENGTH]


def origin_of(error: BaseException) -> Origin:
    """Give the innermost place of our own code that the error passed; if there is none, the innermost."""
    trace, found = error.__traceback__, None
    innermost: TracebackType | None = None
    while trace is not None:
        innermost = trace
        if _place(trace.tb_frame.f_code)[0]:
            found = trace
        trace = trace.tb_next
    found = found or innermost
    if found is None:  # made, and never raised
        kind = type(error).__qualname__
        return Origin(hash_of("", "", "", kind), kind, "", "", "", 0, "")
    return _origin(found.tb_frame.f_code, found.tb_lineno, type(error))


def is_ours(code: CodeType) -> bool:
    """Say whether the code is of one of our own packages."""
    return _place(code)[0]


def frames(trace: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    """Give a traceback's places, the outermost first."""
    while trace is not None:
        yield trace.tb_frame.f_code, trace.tb_lineno
        trace = trace.tb_next


def file_of(code: CodeType) -> str:
    """Give the file as it is shown: `tasks/call.py` for ours, the last two parts of the path for others."""
    return _place(code)[2]


def source_line(code: CodeType, line: int) -> str:
    """Give the text of a line of the code's file, without what is around it; empty if there is no source."""
    return linecache.getline(code.co_filename, line).strip()


def module_named(file: str) -> str:
    """Give the module's name for a path within the package folder, as `tasks/call.py`."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


# Looking up a code object by itself would compare its instructions; the entry keeps it, so its id is its own.
_places: dict[int, tuple[CodeType, tuple[bool, str, str]]] = {}
_origins: dict[tuple[int, int, type], tuple[CodeType, Origin]] = {}


def _place(code: CodeType) -> tuple[bool, str, str]:
    """Give for a code object: whether it is ours, its module, and its file as shown."""
    known = _places.get(id(code))
    if known is not None:
        return known[1]
    if ours := _OURS.fullmatch(code.co_filename):
        file = f"{ours[1]}.py"
        place = (True, module_named(file), file)
    else:
        # Where others' code is installed differs by machine: its last parts do not.
        file = "/".join(code.co_filename.split("/")[-2:])
        place = (False, module_named(file), file)
    if len(_places) >= _MOST_KNOWN:
        _places.clear()
    _places[id(code)] = (code, place)
    return place


def _origin(code: CodeType, line: int, kind: type[BaseException]) -> Origin:
    key = (id(code), line, kind)
    known = _origins.get(key)
    if known is not None:
        return known[1]
    _, module, file = _place(code)
    function = _COMPREHENSION.sub("", code.co_qualname)
    text, name = source_line(code, line), kind.__qualname__
    origin = Origin(hash_of(module, function, text, name), name, module, function, file, line, text)
    if len(_origins) >= _MOST_KNOWN:
        _origins.clear()
    _origins[key] = (code, origin)
    return origin
