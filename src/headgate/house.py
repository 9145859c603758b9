"""Assembly: what is put into every request. It loads the flows, and Prefect with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.prepare import House
from tasks.apply_profile import DEFAULT_PROFILES, Profile, Profiles

if TYPE_CHECKING:
    from headgate.settings import Settings
    from wire.parameters import Presets


def assemble_house(settings: Settings, presets: Presets) -> House:
    """Give the parameters, profiles and breakpoints; the settings' profiles come before the built-in ones."""
    told = {name: Profile(one.effort, one.tool_timeout) for name, one in settings.profiles.items()}
    usual = {name: one for name, one in DEFAULT_PROFILES.items() if name not in told}
    return House(presets, Profiles(told | usual, settings.thinking), settings.prompt_cache == "auto")
