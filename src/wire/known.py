"""What the Anthropic API knows, stable and beta: roles, block types, tool types.

A request with anything else in these places is refused here, at once, instead of after a trip upstream. A
test compares the sets with the installed SDK's unions, so that an upgrade says what is new.
"""

from __future__ import annotations

ROLES = frozenset({"assistant", "system", "user"})

BLOCKS = frozenset(
    {
        "advisor_tool_result",
        "bash_code_execution_tool_result",
        "code_execution_tool_result",
        "compaction",
        "container_upload",
        "document",
        "fallback",
        "image",
        "mcp_tool_listing",
        "mcp_tool_result",
        "mcp_tool_use",
        "redacted_thinking",
        "search_result",
        "server_tool_use",
        "text",
        "text_editor_code_execution_tool_result",
        "thinking",
        "tool_addition",
        "tool_removal",
        "tool_result",
        "tool_search_tool_result",
        "tool_use",
        "web_fetch_tool_result",
        "web_search_tool_result",
    }
)
"""Blocks of a user's or an assistant's message."""

SYSTEM_BLOCKS = frozenset({"text", "tool_addition", "tool_removal"})
"""Blocks of `role: "system"` messages."""

TEXT_BLOCKS = frozenset({"text"})
"""Blocks of the system prompt, and of a search result."""

RESULT_BLOCKS = frozenset({"browser_state", "document", "image", "search_result", "text", "tool_reference"})
"""Blocks inside a tool_result."""

SOURCE_BLOCKS = frozenset({"image", "text"})
"""Blocks inside a document's `content` source."""

IMAGE_TYPES = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})

TOOL_CHOICES = frozenset({"any", "auto", "none", "tool"})
