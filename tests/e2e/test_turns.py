"""Claude Code's ordinary turns: text, tools, reasoning, structured output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e import views

if TYPE_CHECKING:
    from tests.e2e.claude_code import ClaudeCode
    from tests.fakes.handle import FakeOpenRouter


def upstream(openrouter: FakeOpenRouter, path: str, count: int) -> list[views.Json]:
    """Give the requests that reached the upstream, all of them good and on the wire that is meant."""
    seen = openrouter.requests("chat", "messages")
    assert [request["complaint"] for request in seen] == [""] * len(seen)
    assert [request["path"] for request in seen] == [path] * count
    return seen


def test_plain_answer(claude: ClaudeCode, openrouter: FakeOpenRouter, wire: str, path: str) -> None:
    text = "The answer — in short — is 42.\n" * 20
    openrouter.script({"text": text, "usage": {"input": 1234, "output": 99}})
    session = claude.run("What is the answer?")
    assert session.code == 0
    assert session.result["result"] == text
    assert session.result["usage"]["input_tokens"] == 1234
    assert session.result["usage"]["output_tokens"] == 99
    (request,) = upstream(openrouter, path, 1)
    assert "What is the answer?" in views.everything(request)
    assert request["body"]["stream"] is True
    if wire != "direct":
        assert request["headers"]["authorization"] == "Bearer sk-or-e2e-not-a-key"
        assert "x-api-key" not in request["headers"]
        assert request["body"]["model"].startswith("anthropic/claude-")
        assert session.blocks("assistant", "text")
        assert "sk-ant-e2e-not-a-key" not in json.dumps(request)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("claude-opus-4-6", "anthropic/claude-opus-4.6"),
        ("claude-sonnet-4-20250514", "anthropic/claude-sonnet-4"),
        ("openai/gpt-5", "openai/gpt-5"),
    ],
)
def test_model_names(
    claude: ClaudeCode, openrouter: FakeOpenRouter, wire: str, path: str, asked: str, sent: str
) -> None:
    session = claude.run("hello", "--model", asked)
    (request,) = upstream(openrouter, path, 1)
    assert request["body"]["model"] == (asked if wire == "direct" else sent)
    answers = [event["message"] for event in session.events if event["type"] == "assistant"]
    assert [answer["model"] for answer in answers] == [asked]


def test_billing_header_reaches_anthropic_only(
    claude: ClaudeCode, openrouter: FakeOpenRouter, wire: str, path: str
) -> None:
    claude.run("hello")
    (request,) = upstream(openrouter, path, 1)
    assert ("x-anthropic-billing-header" in views.everything(request)) is (wire == "direct")


def test_tool_loop_writes_a_file(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    file = claude.project / "poem.txt"
    content = 'Roses are "red",\nviolets \\ blue — ünïcödé\n' * 30
    written = {"name": "Write", "id": "toolu_write", "input": {"file_path": str(file), "content": content}}
    openrouter.script({"text": "I write it.", "tools": [written]}, {"text": "It is written."})
    session = claude.run("Write the poem.")
    assert session.result["result"] == "It is written."
    assert session.result["num_turns"] == 2
    assert file.read_text() == content
    _, second = upstream(openrouter, path, 2)
    assert [(name, given) for _, name, given in views.tool_calls(second)] == [("Write", written["input"])]
    assert list(views.tool_results(second)) == [identity for identity, _, _ in views.tool_calls(second)]


def test_parallel_tools(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    names = ("one", "two", "three")
    for name in names:
        (claude.project / f"{name}.txt").write_text(f"this is {name}")
    tools = [{"name": "Read", "input": {"file_path": str(claude.project / f"{name}.txt")}} for name in names]
    openrouter.script({"tools": tools, "interleave": True, "chunk": 5}, {"text": "Read them."})
    session = claude.run("Read the three files.")
    assert session.result["result"] == "Read them."
    assert len(session.blocks("assistant", "tool_use")) == 3
    _, second = upstream(openrouter, path, 2)
    calls = views.tool_calls(second)
    results = views.tool_results(second)
    assert [given["file_path"] for _, _, given in calls] == [tool["input"]["file_path"] for tool in tools]
    for (identity, _, _), name in zip(calls, names, strict=True):
        assert f"this is {name}" in results[identity]


def test_reasoning_comes_back(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    thought, signature = "First I look, then I answer. " * 40, "EqQBCg" + "x9/+" * 500 + "=="
    openrouter.script(
        {
            "reasoning": thought,
            "signature": signature,
            "tools": [{"name": "Bash", "input": {"command": "echo seen"}}],
        },
        {"text": "Looked."},
        {"text": "Looked again."},
    )
    session = claude.run("Look around.")
    assert [block["thinking"] for block in session.blocks("assistant", "thinking")] == [thought]
    claude.run("And again?", "--resume", session.session_id)
    _, second, third = upstream(openrouter, path, 3)
    assert views.reasoning(second) == [(thought, signature)]
    assert views.reasoning(third) == [(thought, signature)]


def test_structured_output(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "parts": {"type": "array", "items": {"type": "number"}}},
        "required": ["name", "parts"],
        "additionalProperties": False,
    }
    answer = {"name": "pi", "parts": [3, 0.14]}
    openrouter.script({"tools": [{"name": "StructuredOutput", "input": answer}]})
    session = claude.run("Give pi.", "--json-schema", json.dumps(schema))
    assert session.result["structured_output"] == answer
    assert session.result["subtype"] == "success"
    request = upstream(openrouter, path, len(openrouter.requests(path)))[0]
    assert any(item == schema for item in views.objects(request["body"]["tools"]))
