"""The batches of a running gateway, asked over Anthropic's endpoints and ours beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from headgate.gateway_client import GatewayClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME = "x-headgate-batch-name"
_PAGE = 100
_PIECE = 64 * 1024


class BatchClient(GatewayClient):
    """Asks below `/v1/messages/batches` with a client's key. Failures are Unanswered."""

    root = "/v1/messages/batches"

    def create(self, body: Iterable[bytes], size: int, *, name: str | None, key: str) -> Any:
        """Make a batch of a body of `size` bytes; `name` is for people, `key` makes it safe to repeat."""
        headers = {
            "content-type": "application/json",
            "content-length": str(size),
            "idempotency-key": key,
        }
        if name:
            headers[NAME] = quote(name, safe=" !#$&'()+,-.:;=@[]^_`{}~")
        with self._open("POST", "", content=body, headers=headers) as answer:
            return self._read(answer)

    def batch(self, batch_id: str) -> Any:
        """Give a batch as Anthropic shows it."""
        return self.get(_at(batch_id))

    def progress(self, batch_id: str) -> Any:
        """Give how far a batch is: counts of now, tokens, cost, what failed."""
        return self.get(_at(batch_id, "progress"))

    def act(self, batch_id: str, what: str) -> Any:
        """Cancel, pause or resume a batch, and give it."""
        return self.post(_at(batch_id, what))

    def remove(self, batch_id: str) -> Any:
        """Delete an ended batch."""
        return self.delete(_at(batch_id))

    def batches(self, most: int, after: str | None = None) -> tuple[list[Any], bool]:
        """Give the newest batches (0: all) behind `after`, and say whether there are more."""
        found: list[Any] = []
        more = True
        while more and (most == 0 or len(found) < most):
            limit = _PAGE if most == 0 else min(_PAGE, most - len(found))
            page = self.get("", {"limit": limit, "after_id": after})
            found += page["data"]
            after, more = page["last_id"], page["has_more"]
        return found, more

    def results(self, batch_id: str) -> Iterator[bytes]:
        """Give the lines of an ended batch's results, in pieces."""
        with self._open("GET", _at(batch_id, "results")) as answer:
            yield from answer.iter_bytes(_PIECE)


def _at(batch_id: str, what: str = "") -> str:
    place = "/" + quote(batch_id, safe="")
    return f"{place}/{what}" if what else place
