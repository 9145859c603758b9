"""The parameters of OpenRouter and OpenAI that the environment, or `.env`, gives to all requests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from headgate.settings import SettingsError
from wire.errors import InvalidRequest
from wire.sources import from_environment

if TYPE_CHECKING:
    from wire.parameters import Presets


def load_presets() -> Presets:
    """Read `OPENROUTER_MIN_P`, `OPENAI_SEED` and their like; SettingsError begins with the variable."""
    written = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    try:
        return from_environment({**written, **os.environ})
    except InvalidRequest as error:
        raise SettingsError(error.message) from None
