"""A chat stream's chunks as the events of an Anthropic message: the one machine for every chat answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wire.blocks import Blocks, FixedBlock, ReasoningBlock, TextBlock
from wire.chat_ending import cost_of, stop_of, usage_of
from wire.citations import Citations, sources_text
from wire.content_parts import image_note, split_content
from wire.errors import UpstreamFailed
from wire.messages import new_id
from wire.reasoning import details_of
from wire.tool_calls import ToolCalls, arguments_of, function_of, text_of
from wire.upstream_errors import from_chat_error

if TYPE_CHECKING:
    from wire.answer import AnswerContext
    from wire.messages import Event, Json


class ChatStream:
    """Chunks in, events out; no I/O.

    `message_start` comes with the first chunk that says something: a bare role may still be followed by an
    error that deserves a real HTTP status. Within one chunk the order is reasoning, text, citations, tools,
    so that a whole answer, taken as one chunk, gives the blocks that its stream gives.

    `usage` is the upstream's, in Anthropic's words; None if it told none. `message_delta` then says zero of
    everything, which takes the estimate of `message_start` back: nothing is made up.
    """

    def __init__(self, context: AnswerContext) -> None:
        self.usage: Json | None = None
        self.cost: float | None = None
        self.stop_reason: str | None = None
        self.generation_id: str | None = None
        self.started = False
        self._context = context
        self._blocks = Blocks()
        self._calls = ToolCalls(context.tool_names)
        self._citations = Citations()
        self._uncited: list[Json] = []
        self._hidden: list[Json] = []
        self._refused = False
        self._last_choice: Json | None = None

    def feed(self, chunk: Json) -> list[Event]:
        """Take one chunk; raises what an error inside it means."""
        if error := chunk.get("error"):
            raise self._error(error)
        if self.generation_id is None:
            self.generation_id = text_of(chunk.get("id")) or None
        if usage := chunk.get("usage"):
            self._take_usage(usage)
        choices = chunk.get("choices")
        if choices and isinstance(choices, list) and isinstance(choices[0], dict):
            self._take_choice(choices[0])
        events = self._blocks.events
        if events:
            self._blocks.events = []
        return events

    def finish(self, *, done: bool = False) -> list[Event]:
        """End the message; `done` says that the upstream said so itself (`[DONE]`, or a whole answer).

        Raises UpstreamFailed if nothing was received, or if the stream ended before the answer did.
        """
        if self._last_choice is None and not (done and self.started):
            where = "before its answer was complete" if self.started else "before its answer began"
            raise UpstreamFailed(f"the upstream ended the stream {where}", retryable=not self.started)
        self._start()
        self._end_blocks()
        self.stop_reason, sequence = stop_of(
            self._last_choice or {},
            self._context.stop_sequences,
            tools=bool(self._calls),
            refused=self._refused,
        )
        events = self._blocks.events
        events.append(
            {
                "type": "message_delta",
                "delta": {"stop_reason": self.stop_reason, "stop_sequence": sequence},
                "usage": self.usage or _nothing_but(0),
            }
        )
        events.append({"type": "message_stop"})
        self._blocks.events = []
        return events

    def _start(self) -> None:
        if self.started:
            return
        self.started = True
        message: Json = {
            "id": self._context.message_id,
            "type": "message",
            "role": "assistant",
            "model": self._context.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _nothing_but(self._context.input_estimate),
        }
        self._blocks.events.append({"type": "message_start", "message": message})

    def _take_usage(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self.usage = usage_of(usage)
            self.cost = cost_of(usage)

    def _take_choice(self, choice: Json) -> None:
        delta = choice.get("delta")
        if delta is None:
            delta = choice.get("message")
        if isinstance(delta, dict):
            self._take_delta(delta)
        reason = choice.get("finish_reason")
        if error := choice.get("error") or (
            reason == "error" and "the upstream ended the answer with an error"
        ):
            raise self._error(error)
        if reason:
            self._start()
            self._last_choice = choice

    def _take_delta(self, delta: Json) -> None:
        content = delta.get("content")
        details = delta.get("reasoning_details")
        reasoning = delta.get("reasoning") or delta.get("reasoning_content")
        if isinstance(content, list):
            content, more = split_content(content)
            details = details_of(details) + more
        if details or reasoning:
            self._take_reasoning(text_of(reasoning), details_of(details))
        if content:
            self._take_text(text_of(content))
            if len(delta) <= ("role" in delta) + 1:  # nearly every chunk: text and nothing else
                return
        self._take_rarer(delta)

    def _take_rarer(self, delta: Json) -> None:
        if refusal := text_of(delta.get("refusal")):
            self._refused = True
            self._take_text(refusal)
        if annotations := delta.get("annotations"):
            self._take_citations(self._citations.fresh(annotations))
        if images := delta.get("images"):
            self._take_images(images)
        calls = delta.get("tool_calls")
        if calls and isinstance(calls, list):
            for piece in calls:
                if isinstance(piece, dict):
                    self._take_call(piece, *function_of(piece))
        function = delta.get("function_call")  # OpenAI's form before tools
        if isinstance(function, dict):
            self._take_call(
                {"index": -1}, text_of(function.get("name")), arguments_of(function.get("arguments"))
            )

    def _take_text(self, text: str) -> None:
        if not text:
            return
        blocks = self._blocks
        block = blocks.tail
        if type(block) is not TextBlock:
            self._start()
            self._settle()
            block = TextBlock(self._uncited)
            self._uncited = []
            blocks.append(block)
        blocks.write(block, {"type": "text_delta", "text": text})

    def _take_reasoning(self, text: str, details: list[Json]) -> None:
        block = self._blocks.tail
        new = type(block) is not ReasoningBlock
        if new:
            block = ReasoningBlock(self._hidden, self._context.upstream_model)
        assert isinstance(block, ReasoningBlock)  # noqa: S101  (for the type checker)
        shown = block.add(text, details)
        if new and (shown or self._hidden):
            self._start()
        if new and shown:
            self._hidden = []
            self._blocks.append(block)
        if shown:
            self._blocks.write(block, {"type": "thinking_delta", "thinking": shown})

    def _take_citations(self, citations: list[Json]) -> None:
        if not citations:
            return
        self._start()
        block = self._blocks.tail
        target = block.citations if isinstance(block, TextBlock) else self._uncited
        target.extend(citations)

    def _take_images(self, images: Any) -> None:
        for image in images if isinstance(images, list) else ():
            if isinstance(image, dict):
                self._take_text(image_note(image))

    def _take_call(self, piece: Json, name: str, arguments: str) -> None:
        if not (name or arguments or piece.get("id")):
            return
        block, new = self._calls.find(piece, name)
        fresh = block.add(name, arguments)
        if new:
            self._start()
            self._settle()
            self._blocks.append(block)
        if fresh:
            self._blocks.write(block, {"type": "input_json_delta", "partial_json": fresh})

    def _settle(self) -> None:
        """Give reasoning that shows no text its own block, before whatever comes next."""
        if self._hidden:
            self._blocks.append(ReasoningBlock(self._hidden, self._context.upstream_model))
            self._hidden = []

    def _end_blocks(self) -> None:
        self._settle()
        if self._uncited:
            self._take_text(sources_text(self._uncited))
        if self._context.web_search and (results := self._citations.results()):
            self._append_search(results)
        self._blocks.close_all()

    def _append_search(self, results: list[Json]) -> None:
        """Tell the search as Anthropic does, so that clients find its links; its query is unknown."""
        call_id = new_id("srvtoolu")
        call = {"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {}}
        found = {"type": "web_search_tool_result", "tool_use_id": call_id, "content": results}
        self._blocks.append(FixedBlock(call, [{"type": "input_json_delta", "partial_json": "{}"}]))
        self._blocks.append(FixedBlock(found, []))

    def _error(self, error: Any) -> Exception:
        wrapped = error if isinstance(error, dict) else {"message": str(error)}
        return from_chat_error(wrapped, whose_key=self._context.whose_key)


def _nothing_but(input_tokens: int) -> Json:
    """Give a usage of input tokens and nothing else."""
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }
