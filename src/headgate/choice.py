"""Which backend answers by default, why, and which settings contradict each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coordinators.scrubbing import without_password
from headgate.settings import BackendName, SettingsError

if TYPE_CHECKING:
    from headgate.settings import Settings

# What each backend cannot do without: alternatives of a variable are joined by "or".
_NEEDS: dict[BackendName, tuple[tuple[str, tuple[str, ...]], ...]] = {
    BackendName.OPENROUTER: (
        ("OPENROUTER_API_KEY or OPENROUTER_API_KEYS", ("openrouter_api_key", "openrouter_api_keys")),
    ),
    BackendName.LITELLM_OPENROUTER: (
        ("OPENROUTER_API_KEY or OPENROUTER_API_KEYS", ("openrouter_api_key", "openrouter_api_keys")),
    ),
    BackendName.AZURE_DATABRICKS: (
        ("DATABRICKS_HOST", ("databricks_host",)),
        ("DATABRICKS_TOKEN", ("databricks_token",)),
    ),
    BackendName.ANTHROPIC: (("ANTHROPIC_API_KEY", ("anthropic_api_key",)),),
    BackendName.OPENAI_COMPATIBLE: (("OPENAI_COMPATIBLE_BASE_URL", ("openai_compatible_url",)),),
}

# When nothing is said and several could: see docs/decisions/0006-which-backend.md.
_ORDER = (
    BackendName.OPENROUTER,
    BackendName.AZURE_DATABRICKS,
    BackendName.OPENAI_COMPATIBLE,
    BackendName.ANTHROPIC,
)
_FLAGS = (
    ("USE_LITELLM", "use_litellm", BackendName.LITELLM_OPENROUTER),
    ("BYPASS_LITELLM_ENABLED", "bypass_litellm", BackendName.OPENROUTER),
    ("AZURE_DATABRICKS_ENABLED", "databricks_enabled", BackendName.AZURE_DATABRICKS),
)
_NOT = ("is not", "are not")
PREFIXES = tuple(name.prefix for name in _NEEDS)


@dataclass(frozen=True, slots=True)
class Choice:
    """The default backend, why it is, and what else can be reached by a prefix."""

    backend: BackendName
    why: str
    others: tuple[BackendName, ...] = ()


def choose_backend(settings: Settings) -> Choice:
    """Say which backend answers, and why in a sentence; raises SettingsError that names the variables.

    `PROXY_BACKEND` says it, or a flag that is true; else the first of OpenRouter, Databricks, an
    OpenAI-compatible server and Anthropic whose settings are there.
    """
    if settings.openrouter_api_key is not None and settings.openrouter_api_keys is not None:
        raise SettingsError("OPENROUTER_API_KEY and OPENROUTER_API_KEYS are both set: keep one of them")
    backend, why = _chosen(settings)
    if missing := _missing(settings, backend):
        raise SettingsError(f"{why}, but {' and '.join(missing)} {_NOT[len(missing) > 1]} set")
    others = tuple(name for name in _NEEDS if name != backend and not _missing(settings, name))
    return Choice(backend, why, others)


def address_of(settings: Settings, backend: BackendName) -> str:
    """Give the address of a backend, for people."""
    return without_password(_address_of(settings, backend))


def _address_of(settings: Settings, backend: BackendName) -> str:
    match backend:
        case BackendName.AZURE_DATABRICKS:
            return str(settings.databricks_host)
        case BackendName.ANTHROPIC:
            return settings.anthropic_url
        case BackendName.OPENAI_COMPATIBLE:
            return str(settings.openai_compatible_url)
        case _:
            return settings.openrouter_base_url


def _chosen(settings: Settings) -> tuple[BackendName, str]:
    raised = [(variable, name) for variable, field, name in _FLAGS if getattr(settings, field)]
    if len(raised) > 1:
        both = " and ".join(f"{variable}=true ({name})" for variable, name in raised)
        raise SettingsError(f"{both} contradict each other: keep one, or set PROXY_BACKEND instead")
    if settings.backend is not None:
        named = _named(settings.backend)
        if raised and raised[0][1] != named:
            variable, other = raised[0]
            raise SettingsError(
                f"PROXY_BACKEND={named} and {variable}=true ({other}) contradict each other: keep one"
            )
        return named, f"PROXY_BACKEND={named} says so"
    if raised:
        variable, name = raised[0]
        return name, f"{variable}=true says so"
    denied = {name for _, field, name in _FLAGS if getattr(settings, field) is False}
    for name in _ORDER:
        # BYPASS_LITELLM_ENABLED=false says nothing against OpenRouter, only nothing for it.
        if not _missing(settings, name) and not (name in denied and name == BackendName.AZURE_DATABRICKS):
            return name, _present(settings, name)
    return BackendName.DEMO, "no backend is configured and no key was found"


def _named(told: str) -> BackendName:
    if told not in _NEEDS:
        raise SettingsError(f"PROXY_BACKEND={told} is not known; it can be {', '.join(_NEEDS)}")
    return BackendName(told)


def _missing(settings: Settings, name: BackendName) -> list[str]:
    return [
        variable
        for variable, fields in _NEEDS.get(name, ())
        if all(getattr(settings, field) is None for field in fields)
    ]


def _present(settings: Settings, name: BackendName) -> str:
    """Say which variables make a backend possible."""
    given = [
        variable.split(" or ")[position]
        for variable, fields in _NEEDS[name]
        for position, field in enumerate(fields)
        if getattr(settings, field) is not None
    ]
    return f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} set"
