"""Write the upstream's whole answer as an Anthropic Message."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from express import step
from tasks.exchange import Whole
from wire.chat_answer import to_message
from wire.chat_ending import cost_of, counted, stop_of, usage_of
from wire.errors import UpstreamFailed
from wire.openai_answer import to_completion
from wire.openai_chat import choices_of, error_in
from wire.upstream_errors import from_chat_error, from_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.backend import Outgoing, Reply
    from wire.messages import Json, Message
    from wire.openai_stream import OpenAIShape


@step
def render_message(reply: Reply, outgoing: Outgoing) -> Whole:
    """Give the Message for the client; raises UpstreamFailed if the answer is none.

    An error inside HTTP 200, HTML and an empty body are errors here, never a success.
    """
    answer = _answer(reply, outgoing)
    with _well_formed():
        message = _message(answer, outgoing)
        return Whole(orjson.dumps(message), summary=_summary(message, answer))


@step
def render_completion(reply: Reply, outgoing: Outgoing) -> Whole:
    """Give an OpenAI client's completion, likewise: a chat backend's own, or one made of the Message."""
    answer = _answer(reply, outgoing)
    shape = outgoing.shape
    assert shape is not None  # noqa: S101 - every request of an OpenAI client has one
    with _well_formed():
        return _completion(answer, outgoing, shape)


def _completion(answer: Json, outgoing: Outgoing, shape: OpenAIShape) -> Whole:
    if not outgoing.relayed:
        message = _message(answer, outgoing)
        return Whole(orjson.dumps(to_completion(message, shape)), summary=_summary(message, answer))
    if error := error_in(answer):
        raise from_chat_error(error, whose_key=outgoing.context.whose_key)
    if not choices_of(answer):
        raise UpstreamFailed("the upstream's answer holds no choices", retryable=True)
    return Whole(orjson.dumps({**answer, "model": shape.model}), summary=completion_summary(answer))


@contextmanager
def _well_formed() -> Iterator[None]:
    """Raise UpstreamFailed where an answer has another form than its API's: others may do better."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError):
        told = "the upstream sent an answer whose form is not its API's"
        raise UpstreamFailed(told, retryable=True) from None


def _answer(reply: Reply, outgoing: Outgoing) -> Json:
    """Give the upstream's answer, or raise the error that it is."""
    answer = _parse(reply)
    if answer is None or answer.get("error"):
        raise from_status(
            200, reply.body, reply.headers, wire=outgoing.wire, whose_key=outgoing.context.whose_key
        )
    return answer


def _message(answer: Json, outgoing: Outgoing) -> Message:
    if outgoing.wire == "messages":
        if answer.get("type") != "message":
            raise UpstreamFailed("the upstream answered something that is no message")
        return {**answer, "model": outgoing.context.model}
    return to_message(answer, outgoing.context)


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
        "response_model": model_of(answer),
    }


def completion_summary(answer: Json) -> dict[str, Any]:
    """Pick what a run's summary shows of a chat completion."""
    usage = answer.get("usage") or {}
    choice = choices_of(answer)[0]
    stop, _ = stop_of(choice, (), tools=bool((choice.get("message") or {}).get("tool_calls")), refused=False)
    return {
        **usage_summary(usage_of(usage) if usage else {}, cost_of(usage)),
        "stop_reason": stop,
        "generation_id": answer.get("id"),
        "response_model": model_of(answer),
    }


def model_of(answer: Json) -> str | None:
    """Give the name by which the upstream calls the model that answered."""
    model = answer.get("model")
    return model[:200] if isinstance(model, str) else None


def usage_summary(usage: Json, cost: Any) -> dict[str, Any]:
    """Pick what a run's summary shows of a usage object; `cost` is in dollars.

    An upstream may say anything: what is no number is as if it were not there.
    """
    details = usage.get("output_tokens_details")
    return {
        "input_tokens": _number(usage.get("input_tokens")),
        "output_tokens": _number(usage.get("output_tokens")),
        "cache_read_input_tokens": _number(usage.get("cache_read_input_tokens")),
        "cache_creation_input_tokens": _number(usage.get("cache_creation_input_tokens")),
        "reasoning_tokens": _number(details.get("thinking_tokens")) if isinstance(details, dict) else None,
        "cost_usd": cost if isinstance(cost, (int, float)) else None,
    }


def _number(count: Any) -> int | None:
    return counted(count) if isinstance(count, (int, float)) else None
