"""From the names that clients use to those of the backends."""

from __future__ import annotations

import pytest

from tasks.model_names import anthropic_name, claude_base_name, databricks_name, openrouter_name


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("claude-sonnet-4-20250514", "anthropic/claude-sonnet-4"),
        ("claude-3-7-sonnet-20250219", "anthropic/claude-3.7-sonnet"),
        ("claude-3-7-sonnet-latest", "anthropic/claude-3.7-sonnet"),
        ("claude-3-5-haiku-20241022", "anthropic/claude-3.5-haiku"),
        ("claude-3-opus-20240229", "anthropic/claude-3-opus"),
        ("claude-opus-4-6", "anthropic/claude-opus-4.6"),
        ("claude-opus-4-1-20250805", "anthropic/claude-opus-4.1"),
        ("claude-haiku-4-5", "anthropic/claude-haiku-4.5"),
        ("claude-haiku-4-5-20251001", "anthropic/claude-haiku-4.5"),
        ("claude-sonnet-4-5[1m]", "anthropic/claude-sonnet-4.5"),
        ("claude-sonnet-4-0", "anthropic/claude-sonnet-4"),
        ("claude-sonnet-5", "anthropic/claude-sonnet-5"),
        ("claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("claude-sonnet-4@20250514", "anthropic/claude-sonnet-4"),
        ("anthropic.claude-sonnet-4-20250514-v1:0", "anthropic/claude-sonnet-4"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic/claude-sonnet-4.5"),
        ("Claude-Sonnet-4", "anthropic/claude-sonnet-4"),
        ("anthropic/claude-sonnet-4", "anthropic/claude-sonnet-4"),
        ("anthropic/claude-opus-4-6[1m]", "anthropic/claude-opus-4.6"),
        ("anthropic/claude-sonnet-4.5:thinking", "anthropic/claude-sonnet-4.5:thinking"),
        ("openai/gpt-5", "openai/gpt-5"),
        ("google/gemini-2.5-pro:free", "google/gemini-2.5-pro:free"),
        ("gpt-5", None),
        ("/x", None),
        ("x/", None),
        ("", None),
    ],
)
def test_openrouter_name(asked, given):
    assert openrouter_name(asked) == given


def test_a_name_that_is_no_claude():
    assert claude_base_name("gpt-5") is None


@pytest.mark.parametrize(
    ("asked", "anthropic", "databricks"),
    [
        ("claude-opus-4-6", "claude-opus-4-6", "databricks-claude-opus-4-6"),
        ("claude-opus-4-6[1m]", "claude-opus-4-6", "databricks-claude-opus-4-6"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929", "databricks-claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5", "databricks-claude-sonnet-4-5"),
        ("claude-sonnet-4", "claude-sonnet-4-0", "databricks-claude-sonnet-4"),
        ("claude-opus-4-0", "claude-opus-4-0", "databricks-claude-opus-4"),
        ("anthropic/claude-3.7-sonnet", "claude-3-7-sonnet-latest", "databricks-claude-3-7-sonnet"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku-latest", "databricks-claude-3-5-haiku"),
        ("claude-sonnet-5", "claude-sonnet-5", "databricks-claude-sonnet-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5", "databricks-claude-sonnet-4-5"),
        ("databricks-gpt-oss-120b", None, "databricks-gpt-oss-120b"),
        ("databricks-claude-sonnet-4", None, "databricks-claude-sonnet-4"),
        ("openai/gpt-5", None, "openai/gpt-5"),
    ],
)
def test_names_of_other_backends(asked, anthropic, databricks):
    assert (anthropic_name(asked), databricks_name(asked)) == (anthropic, databricks)
