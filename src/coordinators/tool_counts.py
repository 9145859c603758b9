"""How often tools are declared, called, and answered with an error, by name and model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from coordinators.bounded_names import BoundedNames
    from coordinators.observing import Ending

DECLARED, CALLED, FAILED = 0, 1, 2


class ToolCounts:
    """Counts by tool and model, read from the requests that were answered.

    A call is counted when its result comes back: the last turn names the calls that it answers, and what is
    parsed already tells it all, where the answers' streams would have to be parsed for it. So a call whose
    result never comes is not counted, and one whose request is sent again is counted again.
    """

    def __init__(self, tools: BoundedNames) -> None:
        self.counts: dict[str, dict[str, list[int]]] = {}
        self._tools = tools

    def note(self, ending: Ending, model: str) -> None:
        """Count one request's tools under the label of its model."""
        exchange = ending.exchange
        body = exchange.canonical or exchange.body
        if body is None or ending.status >= 400 or ending.flow == "count_tokens":
            return
        tools = body.get("tools")
        if not tools or not isinstance(tools, list):
            return
        counts = self.counts
        for tool in tools:
            name = tool.get("name") if isinstance(tool, dict) else None
            try:
                counts[name][model][DECLARED] += 1  # type: ignore[index]  # as nearly always
            except (KeyError, TypeError):
                if isinstance(name, str):
                    self._of(name, model)[DECLARED] += 1
        for name, failed in results_of(body):
            count = self._of(name, model)
            count[CALLED] += 1
            if failed:
                count[FAILED] += 1

    def _of(self, name: str, model: str) -> list[int]:
        by_model = self.counts.get(name)
        if by_model is None:
            by_model = self.counts.setdefault(self._tools.admit(name), {})
        count = by_model.get(model)
        if count is None:
            count = by_model[model] = [0, 0, 0]
        return count


def results_of(body: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Give the tool's name of each result in the last turn, and whether the result is an error."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return
    results: list[Mapping[str, Any]] = []
    for message in reversed(messages):
        content = message.get("content") if isinstance(message, dict) else None
        role = message.get("role") if isinstance(message, dict) else None
        blocks = [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []
        if role == "assistant":
            names = {one.get("id"): one.get("name") for one in blocks if one.get("type") == "tool_use"}
            for result in results:
                if isinstance(name := names.get(result.get("tool_use_id")), str):
                    yield name, result.get("is_error") is True
            return
        results += (one for one in blocks if one.get("type") == "tool_result")


def tool_metrics(counts: Mapping[str, Mapping[str, list[int]]]) -> dict[str, Any]:
    """Give the counts as JSON, the tools that are called most first."""
    tools = []
    for name, by_model in counts.items():
        models = [_told({"model": model}, numbers) for model, numbers in sorted(by_model.items())]
        sums = [sum(numbers[place] for numbers in by_model.values()) for place in (DECLARED, CALLED, FAILED)]
        tools.append({**_told({"name": name}, sums), "models": models})
    tools.sort(key=lambda one: (-one["called"], -one["declared"], one["name"]))
    return {"tools": tools}


def _told(what: dict[str, Any], numbers: list[int]) -> dict[str, Any]:
    called, failed = numbers[CALLED], numbers[FAILED]
    return {
        **what,
        "declared": numbers[DECLARED],
        "called": called,
        "failed": failed,
        "failure_rate": round(failed / called, 4) if called else None,
    }
