"""Assembly of the backends: every one whose settings are there, the chosen one first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from coordinators.anthropic import Anthropic
from coordinators.databricks import Databricks
from coordinators.http_upstream import HttpUpstream, Timeouts
from coordinators.lanes import BackendLanes, Cooling
from coordinators.litellm_backend import LiteLLMOpenRouter
from coordinators.litellm_calls import LiteLLM
from coordinators.openai_compatible import OpenAICompatible
from coordinators.openrouter import OpenRouter
from coordinators.places import Places
from coordinators.routing import RoutingTable
from coordinators.universal import Universal
from headgate.choice import PREFIXES, choose_backend
from headgate.provider_settings import provider_environment
from headgate.settings import BackendName, SettingsError
from wire.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from headgate.settings import Settings
    from tasks.backend import Backend

_NEVER = Cooling(after=0)  # the demo fails only when it is asked to
_WEIGHT = re.compile(r"(.+?)(?:\*(\d{1,3}))?")


def assemble_http(settings: Settings) -> HttpUpstream:
    """Give what calls the backends, with the settings' times; made within the event loop."""
    return HttpUpstream(
        Timeouts(
            connect=settings.connect_timeout,
            first_byte=settings.first_byte_timeout,
            idle=settings.idle_timeout,
            whole=settings.answer_timeout,
        )
    )


def assemble(
    settings: Settings, http: HttpUpstream, demo_url: str | None = None, library: LiteLLM | None = None
) -> RoutingTable:
    """Give every backend that is configured; raises SettingsError if a route or a fallback leads nowhere.

    `library` is the process's LiteLLM, where it has one already.
    """
    choice = choose_backend(settings)
    cooling = Cooling(settings.cooldown_after, settings.cooldown_seconds)
    table = RoutingTable(
        [
            BackendLanes(
                _with_each_key(name, settings, http, demo_url, library or LiteLLM(http)),
                cooling=_NEVER if name == BackendName.DEMO else cooling,
                places=Places(name.prefix, limit=settings.concurrency, queue=settings.queue),
            )
            for name in (choice.backend, *choice.others)
        ],
        aliases=settings.aliases,
        routes=settings.routes,
        fallbacks=settings.fallbacks,
        prefixes=PREFIXES,
    )
    try:
        table.check()
    except NotFound as error:
        raise SettingsError(f"HEADGATE_ROUTES or HEADGATE_FALLBACKS: {error.message}") from None
    return table


def weighted_keys(told: str) -> list[tuple[str, int]]:
    """Read `key1*3,key2`: keys with their weights, 1 where none is given."""
    found = (_WEIGHT.fullmatch(one.strip()) for one in told.split(","))
    return [(match[1], max(1, int(match[2] or 1))) for match in found if match is not None]


def _with_each_key(
    name: BackendName, settings: Settings, http: HttpUpstream, demo_url: str | None, library: LiteLLM
) -> Sequence[tuple[Backend, int]]:
    match name:
        case BackendName.DEMO:
            demo = OpenRouter(
                http, base_url=str(demo_url), api_key="demo", wire=settings.openrouter_wire, name="demo"
            )
            return [(demo, 1)]
        case BackendName.AZURE_DATABRICKS:
            databricks = Databricks(
                http,
                host=str(settings.databricks_host),
                token=_plain(settings.databricks_token),
                models=settings.databricks_models,
                wire=settings.databricks_wire,
            )
            return [(databricks, 1)]
        case BackendName.ANTHROPIC:
            anthropic = Anthropic(
                http, base_url=settings.anthropic_url, api_key=_plain(settings.anthropic_api_key)
            )
            return [(anthropic, 1)]
        case BackendName.OPENAI_COMPATIBLE:
            compatible = OpenAICompatible(
                http,
                base_url=str(settings.openai_compatible_url),
                api_key=_plain(settings.openai_compatible_api_key),
            )
            return [(compatible, 1)]
        case BackendName.OPENROUTER | BackendName.LITELLM_OPENROUTER:
            several = settings.openrouter_api_keys
            whose_key = "OPENROUTER_API_KEY" if several is None else "OPENROUTER_API_KEYS"
            keys = weighted_keys(_plain(several)) if several else [(_plain(settings.openrouter_api_key), 1)]
            if not keys:
                raise SettingsError("OPENROUTER_API_KEYS holds no key")
            if name == BackendName.OPENROUTER:
                return [(_openrouter(settings, http, key, whose_key), weight) for key, weight in keys]
            return [(_litellm(settings, http, library, key, whose_key), weight) for key, weight in keys]


def _openrouter(settings: Settings, http: HttpUpstream, key: str, whose_key: str) -> Backend:
    return OpenRouter(
        http,
        base_url=settings.openrouter_base_url,
        api_key=key,
        wire=settings.openrouter_wire,
        whose_key=whose_key,
    )


def _litellm(settings: Settings, http: HttpUpstream, library: LiteLLM, key: str, whose_key: str) -> Backend:
    return LiteLLMOpenRouter(
        library,
        http,
        base_url=settings.openrouter_base_url,
        api_key=key,
        whose_key=whose_key,
        name=BackendName.LITELLM_OPENROUTER.prefix,
    )


def assemble_universal(settings: Settings, http: HttpUpstream, library: LiteLLM) -> Universal:
    """Give the universal stream's providers, those that are configured ready to be called."""
    return Universal(
        library,
        http,
        provider_environment(),
        fallbacks=settings.universal_fallbacks,
        cooling=Cooling(settings.cooldown_after, settings.cooldown_seconds),
        concurrency=settings.concurrency,
        queue=settings.queue,
    )


def _plain(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
