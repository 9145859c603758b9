"""A batch's results as OpenAI's batches have them: one line, one `response` or `error`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from wire.openai_answer import to_completion
from wire.openai_stream import OpenAIShape
from wire.upstream_errors import STATUS_OF_TYPE

if TYPE_CHECKING:
    from wire.messages import Json

_STATUS = STATUS_OF_TYPE | {"overloaded_error": 503}  # OpenAI has no 529
_ENDINGS = {
    "expired": ("batch_expired", "the batch expired before this request was answered"),
    "canceled": ("batch_cancelled", "the batch was cancelled before this request was answered"),
}


def openai_result(line: bytes, created: int = 0) -> bytes:
    """Render a line of Anthropic's results as one of OpenAI's; `created` is in seconds since the epoch."""
    told = orjson.loads(line)
    result = told["result"]
    made: Json = {"id": f"batch_req_{told['custom_id']}", "custom_id": told["custom_id"]}
    match result["type"]:
        case "succeeded":
            message = result["message"]
            completion = to_completion(message, OpenAIShape(message["model"], created))
            made |= {"response": _response(message["id"], 200, completion), "error": None}
        case "errored":
            body = result["error"]
            error = body["error"]
            shown = {"message": error["message"], "type": error["type"], "param": None, "code": None}
            status = _STATUS.get(error["type"], 500)
            made |= {"response": _response(body.get("request_id"), status, {"error": shown}), "error": None}
        case other:
            code, why = _ENDINGS[other]
            made |= {"response": None, "error": {"code": code, "message": why}}
    return orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE)


def _response(request_id: str | None, status: int, body: Json) -> Json:
    return {"status_code": status, "request_id": request_id, "body": body}
