"""What Claude Code carries beyond text: images, PDFs, subagents, MCP tools, deferred tools, web search."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e import samples, views
from tests.fakes.rules import tool_names

if TYPE_CHECKING:
    from tests.e2e.claude_code import ClaudeCode
    from tests.fakes.handle import FakeOpenRouter

ECHO = Path(__file__).with_name("echo_mcp.py")


def good(openrouter: FakeOpenRouter, path: str) -> list[views.Json]:
    """Give the requests that reached the upstream; the upstream found nothing wrong with them."""
    seen = openrouter.requests("chat", "messages")
    assert {request["path"] for request in seen} == {path}
    assert [request["complaint"] for request in seen] == [""] * len(seen)
    return seen


def read(path: Path) -> views.Json:
    return {"tools": [{"name": "Read", "input": {"file_path": str(path)}}]}


def test_image(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    picture = claude.project / "red.png"
    picture.write_bytes(samples.png())
    openrouter.script(read(picture), {"text": "It is red."})
    assert claude.run("What colour is red.png?").result["result"] == "It is red."
    second = good(openrouter, path)[1]
    (sent,) = views.images(second)
    assert base64.b64decode(sent).startswith((b"\x89PNG", b"\xff\xd8", b"RIFF"))


def test_pdf(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    paper = claude.project / "paper.pdf"
    paper.write_bytes(samples.pdf("Headgate reads this"))
    openrouter.script(read(paper), {"text": "It says so."})
    assert claude.run("What does paper.pdf say?").result["result"] == "It says so."
    second = good(openrouter, path)[1]
    assert [base64.b64decode(sent) for sent in views.documents(second)] == [paper.read_bytes()]


def test_subagent(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    task = {"description": "count", "prompt": "SUBTASK count it", "subagent_type": "general-purpose"}
    openrouter.script(
        {
            "name": "delegates",
            "when": {"user": "delegate", "tool_result": False},
            "tools": [{"name": "Agent", "input": {**task, "run_in_background": False}}],
        },
        {
            "name": "subagent",
            "when": {"user": "SUBTASK", "tool_result": False},
            "text": "The subagent counted 7.",
        },
        {"name": "reports", "when": {"tool_result": True}, "text": "It is 7."},
    )
    assert claude.run("Please delegate it.").result["result"] == "It is 7."
    seen = good(openrouter, path)
    assert [request["answered_by"] for request in seen] == ["delegates", "subagent", "reports"]
    (report,) = views.tool_results(seen[2]).values()
    assert "The subagent counted 7." in report


def test_mcp_tool(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str) -> None:
    server = {"command": sys.executable, "args": [str(ECHO)]}
    config = claude.folder / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"echo": server}}))
    name = "mcp__echo__shout"
    openrouter.script(
        {"tools": [{"name": "ToolSearch", "input": {"query": f"select:{name}"}}]},
        {"tools": [{"name": name, "input": {"words": "hear me"}}]},
        {"text": "Shouted."},
    )
    session = claude.run("Shout.", "--mcp-config", str(config), "--strict-mcp-config")
    assert session.result["result"] == "Shouted."
    seen = good(openrouter, path)
    assert name in tool_names(seen[1]["body"])
    assert "HEAR ME" in views.tool_results(seen[2]).values()


def test_long_mcp_names_are_shortened_and_restored(
    claude: ClaudeCode, openrouter: FakeOpenRouter, path: str, wire: str
) -> None:
    server_name = "a_server_with_a_really_long_name_that_goes_on_and_on_and_on_and_on"
    name = f"mcp__{server_name}__shout"
    config = claude.folder / "mcp.json"
    server = {"command": sys.executable, "args": [str(ECHO)], "alwaysLoad": True}
    config.write_text(json.dumps({"mcpServers": {server_name: server}}))
    openrouter.script({"text": "Nothing yet."})
    told = ("Shout.", "--mcp-config", str(config), "--strict-mcp-config")
    claude.run(*told, ENABLE_TOOL_SEARCH="false")
    offered = [
        tool for tool in tool_names(good(openrouter, path)[0]["body"]) if tool.startswith("mcp__a_server")
    ]
    openrouter.reset()
    openrouter.script({"tools": [{"name": offered[0], "input": {"words": "hear me"}}]}, {"text": "Shouted."})
    session = claude.run(*told, ENABLE_TOOL_SEARCH="false")
    assert [block["name"] for block in session.blocks("assistant", "tool_use")] == [name]
    assert "HEAR ME" in views.tool_results(good(openrouter, path)[1]).values()
    assert (len(offered[0]) <= 64) is (wire == "chat")


def test_tool_search(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str, wire: str) -> None:
    found = {"name": "ToolSearch", "input": {"query": "select:NotebookEdit", "max_results": 3}}
    openrouter.script({"tools": [found]}, {"text": "Found."})
    assert claude.run("Find the notebook tool.").result["result"] == "Found."
    first, second = good(openrouter, path)
    assert "NotebookEdit" not in tool_names(first["body"])
    assert "NotebookEdit" in tool_names(second["body"])
    references = [item for item in views.objects(second["body"]) if item.get("type") == "tool_reference"]
    if wire == "chat":
        assert "DeferredToolPlaceholder" not in tool_names(second["body"])
        assert references == []
        assert "NotebookEdit" in "".join(views.tool_results(second).values())
    else:
        assert references == [{"type": "tool_reference", "tool_name": "NotebookEdit"}]


def test_web_search(claude: ClaudeCode, openrouter: FakeOpenRouter, path: str, wire: str) -> None:
    note = {"url": "https://example.com/a", "title": "A page", "content": "The page says so."}
    openrouter.script(
        {
            "name": "search",
            "when": {"any": "web_search_2"} if wire != "chat" else {"main": False},
            "text": "It is said there.",
            "annotations": [note],
        },
        {
            "name": "asks",
            "when": {"tool_result": False, "user": "Look it up"},
            "tools": [{"name": "WebSearch", "input": {"query": "what is said"}}],
        },
        {"name": "loads", "when": {"tool_result": True}, "text": "Looked up."},
    )
    session = claude.run("Look it up on the web.", ENABLE_TOOL_SEARCH="false")
    assert session.result["result"] == "Looked up."
    seen = {request["answered_by"]: request for request in good(openrouter, path)}
    assert set(seen) == {"asks", "search", "loads"}
    (result,) = views.tool_results(seen["loads"]).values()
    assert "It is said there." in result
    if wire == "chat":
        assert seen["search"]["body"]["plugins"][0]["id"] == "web"
