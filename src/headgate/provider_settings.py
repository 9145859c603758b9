"""The variables of the universal stream's providers, under the names that LiteLLM has for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from coordinators.providers import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping


def provider_environment() -> Mapping[str, str]:
    """Give those variables that are set, the environment before `.env`; the names are many and not ours."""
    told = {**dotenv_values(".env"), **os.environ}
    return {name: value for name in VARIABLES if (value := (told.get(name) or "").strip())}
