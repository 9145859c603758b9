"""Who serves a model, where some of its providers are not configured."""

from __future__ import annotations

import pytest

from coordinators.http_upstream import HttpUpstream
from coordinators.litellm_calls import LiteLLM
from coordinators.universal import Universal
from wire.errors import NotFound, PermissionDenied

KEYS = {"OPENAI_API_KEY": "k", "MISTRAL_API_KEY": "k"}


async def ways(asked, *fallbacks, **settings):
    http = HttpUpstream()
    universal = Universal(LiteLLM(http), http, KEYS, **settings)
    routes = await universal.routes(asked, None, fallbacks or None)
    return [f"{route.target.backend}/{route.target.model}" for route in routes]


@pytest.mark.parametrize(
    ("asked", "fallbacks", "found"),
    [
        ("gpt-5", ["claude-sonnet-4-5", "mistral/m"], ["openai/gpt-5", "mistral/m"]),
        ("claude-sonnet-4-5", ["gpt-5"], ["openai/gpt-5"]),
    ],
)
async def test_a_model_whose_provider_is_not_configured_is_passed_over(asked, fallbacks, found):
    assert await ways(asked, *fallbacks) == found


async def test_the_settings_fallbacks_likewise():
    assert await ways("gpt-5", fallbacks={"*": ("claude-sonnet-4-5",)}) == ["openai/gpt-5"]


@pytest.mark.parametrize(
    ("asked", "fallbacks", "error", "said"),
    [
        ("claude-sonnet-4-5", ["gemini-2.5-pro"], PermissionDenied, "ANTHROPIC_API_KEY"),
        ("nobodys-model", ["gpt-5"], NotFound, "nobodys-model"),
        ("gpt-5", ["nobodys-model"], NotFound, "nobodys-model"),
    ],
)
async def test_what_leads_nowhere_is_told(asked, fallbacks, error, said):
    with pytest.raises(error, match=said):
        await ways(asked, *fallbacks)
