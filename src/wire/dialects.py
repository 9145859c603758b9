"""What chat backends take: one wire, several dialects of it.

A dialect is declarative: sets of field names and a few choices, so that documents can be made from it.
`wire.chat_request` writes a request in OpenRouter's dialect, the richest; `wire.chat_dialect` fits it to
another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from wire.parameters import PARAMETERS

OWN = frozenset(PARAMETERS) - {"plugins", "reasoning", "temperature_range", "top_k", "user"}
"""Parameters that are a chat backend's own, not Anthropic's: a client that sends them means them, and they go
as they are. Those taken out have a form of their own in a chat request, or none."""

BASIC = frozenset(
    {"max_tokens", "messages", "model", "stop", "stream", "temperature", "tool_choice", "tools", "top_p"}
)
"""What every chat backend takes."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a chat backend takes.

    `takes`       top-level fields; every other one is left out
    `on_messages` parameters beyond Anthropic's API that it takes on its messages wire, if it has one
    `reasoning`   how thinking is asked for: OpenRouter's `reasoning` object, `reasoning_effort`, or
                  Anthropic's own `thinking` and `output_config.effort`
    `earlier`     how earlier thinking goes back: in `reasoning_details`, as `reasoning` parts, or not at all
    `answer_format`  where a wanted JSON schema goes
    `limit_field` the name of `max_tokens`
    `files`       which `file` parts: with the bytes in them, with an address; others are refused
    `web_search`  whether Anthropic's web search can be had, as a plugin; else it is refused
    `cache_control`  whether cache breakpoints are kept
    `system_anywhere`  whether a system message may come later than first; else it becomes a user's
    `parallel_results` whether several results may follow a message with several calls; else each call gets
                  a message of its own, directly before its result
    """

    name: str
    takes: frozenset[str]
    on_messages: frozenset[str] = frozenset({"top_k"})
    reasoning: Literal["reasoning", "reasoning_effort", "thinking"] = "reasoning_effort"
    earlier: Literal["reasoning_details", "parts", "none"] = "none"
    answer_format: Literal["response_format", "output_config"] = "response_format"
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    files: frozenset[Literal["data", "url"]] = frozenset()
    web_search: bool = False
    cache_control: bool = False
    system_anywhere: bool = False
    parallel_results: bool = True


OPENROUTER = Dialect(
    "OpenRouter",
    takes=BASIC
    | OWN
    | {
        "cache_control",
        "parallel_tool_calls",
        "plugins",
        "reasoning",
        "response_format",
        "service_tier",
        "stream_options",
        "top_k",
        "usage",
        "user",
    },
    on_messages=frozenset(
        {
            "deferred_tools",
            "models",
            "plugins",
            "provider",
            "session_id",
            "stop_server_tools_when",
            "top_k",
            "trace",
        }
    ),
    reasoning="reasoning",
    earlier="reasoning_details",
    files=frozenset({"data", "url"}),
    web_search=True,
    cache_control=True,
    system_anywhere=True,
)

ANTHROPIC = Dialect("Anthropic", takes=frozenset())
"""Anthropic's own API, which has no chat wire, and refuses what it does not know."""

LITELLM = replace(OPENROUTER, name="LiteLLM")
"""LiteLLM on its way to OpenRouter: it takes what OpenRouter takes."""

OPENAI = Dialect(
    "OpenAI-compatible servers",
    takes=BASIC
    | {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "min_p",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "seed",
        "stream_options",
        "top_k",
        "top_logprobs",
        "user",
    },
)
"""vLLM, llama.cpp, Ollama and their like: OpenAI's wire, with samplers of their own."""

OPENAI_PLATFORM = Dialect(
    "OpenAI",
    takes=(BASIC - {"max_tokens"})
    | {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "modalities",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "response_format",
        "seed",
        "service_tier",
        "stream_options",
        "top_logprobs",
        "user",
        "verbosity",
    },
    limit_field="max_completion_tokens",
    files=frozenset({"data"}),
    system_anywhere=True,
)
"""OpenAI itself, which refuses what it does not know."""

DATABRICKS = Dialect(
    "Databricks",
    # The endpoint is in the address, so that there is no model in the body.
    takes=(BASIC - {"model"}) | {"reasoning_effort", "response_format"},
    parallel_results=False,
)
"""Databricks' chat endpoints; it refuses what it does not know."""

DATABRICKS_CLAUDE = replace(
    DATABRICKS,
    name="Databricks, Claude models",
    takes=(BASIC - {"model"}) | {"output_config", "thinking", "top_k"},
    reasoning="thinking",
    earlier="parts",
    answer_format="output_config",
    cache_control=True,
    parallel_results=True,
)
"""Claude on Databricks' chat endpoints: Anthropic's own fields within a chat request."""
