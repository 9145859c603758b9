"""What LiteLLM and the providers behind it take of a chat request.

Every field is kept up to `wire.litellm_chat`, which decides by LiteLLM's own tables and refuses by name what
has no form; these dialects say only how messages are to look.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from wire.dialects import LITELLM

_CLOSED = replace(
    LITELLM,
    takes=LITELLM.takes - {"cache_control"},
    earlier="none",
    files=frozenset(),
    web_search=False,
    cache_control=False,
    system_anywhere=False,
)
_DATA: frozenset[Literal["data", "url"]] = frozenset({"data"})

PROVIDER_DIALECTS = {
    "anthropic": replace(
        _CLOSED, name="Anthropic", earlier="reasoning_details", files=_DATA, cache_control=True
    ),
    "openai": replace(_CLOSED, name="OpenAI", files=_DATA, system_anywhere=True),
    "google": replace(_CLOSED, name="Google", files=_DATA),
    "cohere": replace(_CLOSED, name="Cohere"),
    "mistral": replace(_CLOSED, name="Mistral"),
    "azure": replace(_CLOSED, name="Azure OpenAI", files=_DATA, system_anywhere=True),
    "bedrock": replace(_CLOSED, name="Bedrock", earlier="reasoning_details", files=_DATA, cache_control=True),
}
