"""Our words in those of OpenTelemetry's GenAI conventions."""

from __future__ import annotations

_OPERATIONS = dict.fromkeys(
    ("messages", "streaming", "chat_completions", "chat_streaming", "universal"), "chat"
)
_PROVIDERS = {
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
}


def operation_of(flow: str) -> str:
    """Give `gen_ai.operation.name`: `chat` for every flow that has a model answer, else the flow's name."""
    return _OPERATIONS.get(flow, flow)


def provider_of(backend: str) -> str:
    """Give `gen_ai.provider.name`: the well-known value where there is one, else the backend's name."""
    return _PROVIDERS.get(backend, backend)
