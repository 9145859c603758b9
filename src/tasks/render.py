"""Write the upstream's whole answer as an Anthropic Message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from express import step
from tasks.exchange import Whole
from wire.chat_answer import to_message
from wire.errors import UpstreamFailed
from wire.upstream_errors import from_status

if TYPE_CHECKING:
    from tasks.backend import Outgoing, Reply
    from wire.messages import Json


@step
def render_message(reply: Reply, outgoing: Outgoing) -> Whole:
    """Give the Message for the client; raises UpstreamFailed if the answer is none.

    An error inside HTTP 200, HTML and an empty body are errors here, never a success.
    """
    answer = _parse(reply)
    if answer is None or "error" in answer:
        raise from_status(
            200, reply.body, reply.headers, wire=outgoing.wire, whose_key=outgoing.context.whose_key
        )
    if outgoing.wire == "messages":
        if answer.get("type") != "message":
            raise UpstreamFailed("the upstream answered something that is no message")
        message = {**answer, "model": outgoing.context.model}
    else:
        message = to_message(answer, outgoing.context)
    return Whole(orjson.dumps(message), summary=_summary(message, answer))


def _parse(reply: Reply) -> Json | None:
    try:
        answer = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _summary(message: Json, answer: Json) -> dict[str, Any]:
    usage = message.get("usage") or {}
    return {
        **usage_summary(usage, (answer.get("usage") or {}).get("cost")),
        "stop_reason": message.get("stop_reason"),
        "generation_id": answer.get("id"),
    }


def usage_summary(usage: Json, cost: float | None) -> dict[str, Any]:
    """Pick what a run's summary shows of a usage object; `cost` is in dollars."""
    return {
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cache_read_input_tokens": usage.get("cache_read_input_tokens"),
        "cache_creation_input_tokens": usage.get("cache_creation_input_tokens"),
        "cost_usd": cost,
    }
