"""Parameters and model profiles from the environment and `.env`, checked by the tables of `wire.parameters`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from headgate.settings import SettingsError
from tasks.apply_profile import DEFAULT_PROFILES, Profile, Profiles
from wire.errors import InvalidRequest
from wire.sources import from_environment

if TYPE_CHECKING:
    from headgate.settings import Settings
    from wire.parameters import Presets


def load_presets() -> Presets:
    """Read the parameters that all requests get (`OPENROUTER_MIN_P`, `OPENAI_SEED`, …); raises SettingsError."""
    written = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    try:
        return from_environment({**written, **os.environ})
    except InvalidRequest as error:
        raise SettingsError(error.message) from None


def profiles_of(settings: Settings) -> Profiles:
    """Give the profiles: those of HEADGATE_PROFILES before the ones that are built in."""
    given = {
        pattern: Profile(told.effort, told.tool_timeout) for pattern, told in settings.profiles.items()
    }
    return Profiles({**given, **{name: one for name, one in DEFAULT_PROFILES.items() if name not in given}}, settings.thinking)
