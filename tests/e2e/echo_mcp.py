"""A tiny MCP server on stdio with one tool, `shout`; started by Claude Code in the MCP test."""

from __future__ import annotations

import json
import sys
from typing import Any

TOOL = {
    "name": "shout",
    "description": "Say the words in capitals.",
    "inputSchema": {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]},
}


def result_of(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """Answer one JSON-RPC request; None for what this server does not know."""
    if method == "initialize":
        about = {"name": "echo", "version": "1"}
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": about,
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": params["arguments"]["words"].upper()}]}
    return None


def main() -> None:
    for line in sys.stdin:
        told = json.loads(line)
        if "id" not in told:
            continue
        result = result_of(told["method"], told.get("params", {}))
        answer = (
            {"result": result} if result is not None else {"error": {"code": -32601, "message": "unknown"}}
        )
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": told["id"], **answer}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
