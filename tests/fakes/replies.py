"""What the fake answers, told once and rendered on either of OpenRouter's wires.

A reply is a small JSON object (all keys optional):

    text, reasoning, signature, redacted, tools [{name, input, id?, arguments?}],
    annotations [{url, title, content}]
    parts      the same in an order of its own: [{"reasoning": …}, {"text": …}, {"tool": name, "input": {…}}]
    details    raw `reasoning_details` for the chat wire, in place of those made from `reasoning`
    usage      {input, output, cached, written, reasoning, cost}; null leaves usage out
    stop       Anthropic's word for it; end_turn or tool_use when absent
    chunk      characters a piece (12);  interleave  parallel tool deltas alternate on the chat wire
    delay, first_delay   seconds between pieces, and before the first byte
    status, headers, content_type, message, body, raw    an answer given as it is, see `plain`
    fault, after         what goes wrong, and after how many pieces, see `openrouter.Fault`
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from typing import Any

Json = dict[str, Any]

FORMAT = "anthropic-claude-v1"
STOP_TO_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
USAGE: Json = {"input": 120, "output": 30, "cached": 0, "written": 0, "reasoning": 0, "cost": 0.00042}


def parts_of(reply: Json) -> list[Json]:
    """List the reply's parts in order: reasoning, redacted, text, tools, unless it names its own order."""
    if "parts" in reply:
        parts = [dict(part) for part in reply["parts"]]
    else:
        parts = []
        if reply.get("reasoning"):
            parts.append({"reasoning": reply["reasoning"], "signature": reply.get("signature")})
        if reply.get("redacted"):
            parts.append({"redacted": reply["redacted"]})
        if reply.get("text"):
            parts.append({"text": reply["text"], "annotations": reply.get("annotations", [])})
        parts.extend({**tool, "tool": tool["name"]} for tool in reply.get("tools", []))
    for part in parts:
        if "tool" in part:
            part.setdefault("id", f"toolu_{uuid.uuid4().hex[:24]}")
            part.setdefault("arguments", json.dumps(part.get("input", {})) if part.get("input") else "")
        if "reasoning" in part and part.get("signature") is None:
            part["signature"] = "sig-" + hashlib.sha256(part["reasoning"].encode()).hexdigest()[:24]
    return parts


def stop_of(reply: Json, parts: list[Json]) -> str:
    return reply.get("stop") or ("tool_use" if any("tool" in part for part in parts) else "end_turn")


def usage_of(reply: Json) -> Json | None:
    if "usage" in reply and reply["usage"] is None:
        return None
    return {**USAGE, **reply.get("usage", {})}


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)] or [""]


def sse(data: Json, event: str | None = None) -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


# ---- the chat wire ----


def chat_usage(reply: Json) -> Json | None:
    """Give OpenAI's counting: `prompt_tokens` includes what was cached."""
    usage = usage_of(reply)
    if usage is None:
        return None
    prompt = usage["input"] + usage["cached"] + usage["written"]
    return {
        "prompt_tokens": prompt,
        "completion_tokens": usage["output"],
        "total_tokens": prompt + usage["output"],
        "cost": usage["cost"],
        "is_byok": False,
        "prompt_tokens_details": {
            "cached_tokens": usage["cached"],
            "cache_write_tokens": usage["written"],
            "audio_tokens": 0,
            "video_tokens": 0,
        },
        "cost_details": {"upstream_inference_cost": None},
        "completion_tokens_details": {"reasoning_tokens": usage["reasoning"], "image_tokens": 0},
    }


def _details(part: Json, index: int) -> list[Json]:
    if "redacted" in part:
        return [{"type": "reasoning.encrypted", "data": part["redacted"], "format": FORMAT, "index": index}]
    return [
        {
            "type": "reasoning.text",
            "text": part["reasoning"],
            "signature": part["signature"],
            "format": FORMAT,
            "index": index,
        }
    ]


def _annotation(note: Json) -> Json:
    return {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 0, **note}}


class ChatRendering:
    """One reply on `/chat/completions`."""

    def __init__(self, reply: Json, model: str, generation: str) -> None:
        self.reply = reply
        self.model = model
        self.generation = generation
        self.size = reply.get("chunk", 12)
        self.parts = parts_of(reply)
        stop = stop_of(reply, self.parts)
        self.finish = {
            "finish_reason": STOP_TO_FINISH.get(stop, stop),
            "native_finish_reason": reply.get("native") or stop,
        }

    def _frame(self, delta: Json, **extra: Any) -> Json:
        return {
            "id": self.generation,
            "provider": "Anthropic",
            "model": self.model,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "choices": [
                {
                    "index": 0,
                    "delta": {"role": "assistant", **delta},
                    "finish_reason": None,
                    "native_finish_reason": None,
                    "logprobs": None,
                    **extra,
                }
            ],
        }

    def _reasoning(self, part: Json, index: int) -> list[Json]:
        if "details" in self.reply:
            text = part.get("reasoning", "")
            return [{"content": "", "reasoning": text, "reasoning_details": self.reply["details"]}]
        if "redacted" in part:
            return [{"content": "", "reasoning": None, "reasoning_details": _details(part, index)}]
        deltas: list[Json] = [
            {
                "content": "",
                "reasoning": piece,
                "reasoning_details": [
                    {"type": "reasoning.text", "text": piece, "format": FORMAT, "index": index}
                ],
            }
            for piece in cut(part["reasoning"], self.size)
        ]
        signature = {
            "type": "reasoning.text",
            "signature": part["signature"],
            "format": FORMAT,
            "index": index,
        }
        return [*deltas, {"content": "", "reasoning": None, "reasoning_details": [signature]}]

    def _text(self, part: Json) -> list[Json]:
        deltas: list[Json] = [{"content": piece} for piece in cut(part["text"], self.size)]
        if part.get("annotations"):
            deltas.append({"content": "", "annotations": [_annotation(note) for note in part["annotations"]]})
        return deltas

    def _tool(self, part: Json, index: int) -> list[Json]:
        head = {
            "index": index,
            "id": part["id"],
            "type": "function",
            "function": {"name": part["tool"], "arguments": ""},
        }
        pieces = cut(part["arguments"], self.size) if part["arguments"] else []
        calls = [
            head,
            *({"index": index, "type": "function", "function": {"arguments": piece}} for piece in pieces),
        ]
        return [{"content": None, "tool_calls": [call]} for call in calls]

    def deltas(self) -> list[Json]:
        done: list[Json] = []
        tools: list[list[Json]] = []
        for index, part in enumerate(self.parts):
            if "tool" in part:
                tools.append(self._tool(part, len(tools)))
            elif "text" in part:
                done.extend(self._text(part))
            else:
                done.extend(self._reasoning(part, index))
        if self.reply.get("interleave"):
            for step in range(max(map(len, tools), default=0)):
                done.extend(deltas[step] for deltas in tools if step < len(deltas))
            return done
        return done + [delta for deltas in tools for delta in deltas]

    def frames(self) -> list[bytes]:
        """Give the stream's pieces, the comments and `[DONE]` included."""
        done = [b": OPENROUTER PROCESSING\n\n"]
        done.extend(sse(self._frame(delta)) for delta in self.deltas())
        done.append(sse(self._frame({"content": ""}, **self.finish)))
        usage = chat_usage(self.reply)
        if usage is not None:
            done.append(sse({**self._frame({"content": ""}, **self.finish), "usage": usage}))
        done.append(b"data: [DONE]\n\n")
        return done

    def whole(self) -> Json:
        """Give the completion of a non-stream request."""
        message: Json = {"role": "assistant", "content": None, "refusal": None, "reasoning": None}
        texts = [part["text"] for part in self.parts if "text" in part]
        if texts:
            message["content"] = "".join(texts)
        reasoning = [
            (n, part) for n, part in enumerate(self.parts) if "reasoning" in part or "redacted" in part
        ]
        if reasoning:
            message["reasoning"] = "".join(part.get("reasoning", "") for _, part in reasoning) or None
            made = [detail for n, part in reasoning for detail in _details(part, n)]
            message["reasoning_details"] = self.reply.get("details", made)
        calls = [part for part in self.parts if "tool" in part]
        if calls:
            message["tool_calls"] = [
                {
                    "index": index,
                    "id": part["id"],
                    "type": "function",
                    "function": {"name": part["tool"], "arguments": part["arguments"] or "{}"},
                }
                for index, part in enumerate(calls)
            ]
        notes = [_annotation(note) for part in self.parts for note in part.get("annotations", [])]
        if notes:
            message["annotations"] = notes
        whole = {
            "id": self.generation,
            "provider": "Anthropic",
            "model": self.model,
            "object": "chat.completion",
            "created": int(time.time()),
            "choices": [{"index": 0, "logprobs": None, **self.finish, "message": message}],
        }
        usage = chat_usage(self.reply)
        return whole if usage is None else {**whole, "usage": usage}

    def error_frame(self, error: Json) -> bytes:
        """Give a failure in mid-stream: the error beside a last, empty choice."""
        frame = self._frame({"content": ""}, finish_reason="error", native_finish_reason="error")
        return sse({**frame, "error": {"code": error["code"], "message": error["message"]}})
