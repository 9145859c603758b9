"""The fake's replies on Databricks' chat endpoints: reasoning and text come as an array of parts."""

from __future__ import annotations

from typing import Any

from tests.fakes.replies import ChatRendering, Json, sse


class DatabricksRendering(ChatRendering):
    """One reply of a Databricks endpoint. A Claude model's content is an array once it reasons."""

    def _as_databricks(self, told: Json) -> Json:
        """Rewrite a delta or a message of OpenRouter's: no reasoning fields, parts in their place."""
        kept = {key: value for key, value in told.items() if not key.startswith("reasoning")}
        details = [one for one in told.get("reasoning_details") or [] if one["type"] == "reasoning.text"]
        if not details:
            return kept
        summary = [
            {"type": "summary_text", "text": one.get("text", ""), "signature": one.get("signature", "")}
            for one in details
        ]
        text = [{"type": "text", "text": kept["content"]}] if kept.get("content") else []
        return {**kept, "content": [{"type": "reasoning", "summary": summary}, *text]}

    def _frame(self, delta: Json, **extra: Any) -> Json:
        frame = super()._frame(self._as_databricks(delta), **extra)
        return {key: value for key, value in frame.items() if key != "provider"}

    def frames(self) -> list[bytes]:
        usage = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}
        done = [sse({**self._frame(delta), "usage": usage}) for delta in self.deltas()]
        return [
            *done,
            sse({**self._frame({"content": ""}, **self.finish), "usage": usage}),
            b"data: [DONE]\n\n",
        ]

    def whole(self) -> Json:
        whole = super().whole()
        del whole["provider"]
        choice = whole["choices"][0]
        choice["message"] = self._as_databricks(choice["message"])
        whole["usage"] = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}
        return whole
