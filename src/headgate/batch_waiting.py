"""Waiting for a batch, past restarts of the gateway."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from headgate.batch_view import Stand, Watching
from headgate.gateway_client import Unanswered
from headgate.shown import console

if TYPE_CHECKING:
    from headgate.batch_client import BatchClient

_LOOK_SECONDS = 1.0
_MOST_SILENCE = 600.0
"""Seconds that the gateway may be away before waiting is given up; a batch outlives any of them."""


def wait_for(client: BatchClient, batch_id: str, *, quiet: bool) -> Stand:
    """Wait until the batch has ended, and show how it goes on; raises Unanswered.

    The first look must succeed. After it a gateway that does not answer is waited for, up to ten minutes.
    """
    with Watching(console(stderr=True), quiet=quiet) as watching:
        stand = Stand(client.progress(batch_id))
        silent = 0.0
        while True:
            watching.show(stand)
            if stand.ended:
                return stand
            time.sleep(_LOOK_SECONDS)
            try:
                stand = Stand(client.progress(batch_id))
                silent = 0.0
            except Unanswered as error:
                now = time.monotonic()
                if not _may_pass(error) or (silent and now - silent > _MOST_SILENCE):
                    raise
                if not silent:
                    silent = now
                    watching.say(f"{error}. Waiting for it to come back; the batch is not lost.")


def _may_pass(error: Unanswered) -> bool:
    return error.status is None or error.status == 429 or error.status >= 500
