"""How diskcache keeps values here: bytes only, in rows or in files that it named itself.

diskcache 5.6.3 unpickles whatever a row says is a pickle, and opens whatever file a row names
(CVE-2025-69872): one planted row runs code or reads a file. So nothing here is ever unpickled, and no name
is followed that is not one of its own.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

from wire.timeline import Junk

OWN_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")


class Planted(Junk):
    """A row of the store holds what this code never writes."""


class BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """Keys and values are bytes."""

    def put(self, key: Any) -> Any:
        """Give a key's form in the database."""
        if type(key) is not bytes:
            raise TypeError("keys of this store are bytes")
        return super().put(key)

    def get(self, key: Any, raw: Any) -> bytes:
        """Give the key of a row; raises Planted."""
        if raw != 1 or type(key) is not bytes:
            raise Planted("a key that is no plain bytes")
        return key

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
        """Give the columns of a value, its file written if it is large."""
        if read or type(value) is not bytes:
            raise TypeError("values of this store are bytes")
        return super().store(value, read, key=key)

    def fetch(self, mode: Any, filename: Any, value: Any, read: bool = False) -> bytes:
        """Give the value of a row; raises Planted, and FileNotFoundError if another process evicted it."""
        if mode == MODE_RAW and filename is None and type(value) is bytes and not read:
            return value
        if mode == MODE_BINARY and value is None and not read:
            descriptor = os.open(self._own_path(filename), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
                return file.read()
        raise Planted("a value that is no plain bytes")

    def remove(self, file_path: Any) -> None:
        """Remove a value's file; what is not one is left where it is."""
        try:
            self._own_path(file_path)
        except Planted:
            return
        super().remove(file_path)

    def _own_path(self, filename: Any) -> Path:
        """Give the path of a value's file; raises Planted for any name but diskcache's own."""
        if not isinstance(filename, str) or not OWN_NAME.fullmatch(filename):
            raise Planted("a file name that is not the store's own")
        return Path(self._directory) / filename

    def _write(self, full_path: Any, iterator: Any, mode: Any, encoding: Any = None) -> Any:
        """Write a value's file; nothing is left of one that could not be written."""
        try:
            return super()._write(full_path, iterator, mode, encoding)
        except BaseException:
            with suppress(OSError):
                Path(full_path).unlink()
            raise
