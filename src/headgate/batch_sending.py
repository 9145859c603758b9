"""Sending a file to be made a batch of, and what became of it if that was interrupted."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from headgate.batch_view import upload_bar
from headgate.gateway_client import Unanswered
from headgate.shown import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

    from headgate.batch_client import BatchClient
    from tasks.batch_input import BatchInput

_PLACE = re.compile(r"\brequests\.(\d+)")


class Sending:
    """One file on its way. It is sent under a key of its own, so that nothing is ever made twice of it."""

    def __init__(self, client: BatchClient, given: BatchInput, name: str) -> None:
        self._client = client
        self._given = given
        self._name = name
        self._all_sent = False

    def send(self, *, quiet: bool) -> Any:
        """Send it, and give the batch that was made; raises Unanswered, which names a fault's line."""
        given = self._given
        with upload_bar(console(stderr=True), quiet=quiet) as bar:
            body = self._pieces(bar)
            try:
                return self._client.create(
                    body, given.found.bytes, name=self._name, key=f"cli-{secrets.token_hex(16)}"
                )
            except Unanswered as error:
                raise self._with_line(error) from None

    def fate(self) -> str:
        """Say what an interruption now means."""
        if self._all_sent:
            return "The file was sent already, and the batch may have been made: see `headgate batch list`."
        return "Not all of the file was sent, so nothing was made."

    def _pieces(self, bar: Progress) -> Iterator[bytes]:
        task = bar.add_task("", total=self._given.found.bytes)
        for piece in self._given.body():
            yield piece
            bar.advance(task, len(piece))
        self._all_sent = True

    def _with_line(self, error: Unanswered) -> Unanswered:
        """Add the place in the file to a refusal that names a request."""
        place = _PLACE.search(str(error))
        if place is None:
            return error
        where = self._given.where(int(place[1]))
        return error if where == place[0] else Unanswered(f"{error} ({where} of the file)", error.status)
