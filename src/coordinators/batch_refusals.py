"""Notes errors of a batch's requests that no run notes: those that are refused before one is opened."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from express.origins import origin_of

if TYPE_CHECKING:
    from coordinators.error_log import ErrorLog
    from tasks.batch import Batch
    from tasks.exchange import Exchange
    from wire.errors import GatewayError

_MOST_ALIKE = 30
"""How many errors of one place are noted of each batch: 100,000 lines would drive others out of the log."""

_MOST_KINDS = 1000


class Refusals:
    """Notes in `errors`. All batches of a process share it."""

    def __init__(self, errors: ErrorLog) -> None:
        self._errors = errors
        self._alike: Counter[tuple[str, str]] = Counter()

    def note(self, error: GatewayError, batch: Batch, exchange: Exchange) -> str:
        """Give the error's hash; note the error if it has none yet, which it has from its run."""
        if error.hash is None:
            error.hash = origin_of(error).hash
            if self._is_one_of_the_first(batch.id, error.hash):
                self._errors.note(error, status=error.status_sent, exchange=exchange, batch=batch.id)
        return error.hash

    def _is_one_of_the_first(self, batch_id: str, known: str) -> bool:
        if len(self._alike) >= _MOST_KINDS:
            self._alike.clear()
        self._alike[batch_id, known] += 1
        return self._alike[batch_id, known] <= _MOST_ALIKE
