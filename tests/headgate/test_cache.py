"""The cache's assembly: what of the settings is in its keys, and which store they name."""

from __future__ import annotations

import re
from typing import Any

import pytest

from headgate.cache import assemble_store, cache_settings
from headgate.settings import SettingsError, load_settings
from wire.parameters import NO_PRESETS, Presets


def house(presets: Presets = NO_PRESETS, **settings: Any) -> str:
    return cache_settings(load_settings(**settings), presets).house


def test_the_house_is_the_same_at_every_start_and_another_with_other_settings() -> None:
    assert re.fullmatch("[0-9a-f]{64}", house())
    assert house() == house(cache="on", port=9999)
    told = {
        house(),
        house(thinking="off"),
        house(Presets({"top_a": 1}, {})),
        house(profiles={"m": {"effort": "low"}}),
    }
    assert len(told) == 4


def test_no_address_of_an_object_is_in_the_house(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr("headgate.cache.repr", lambda value: seen.append(repr(value)) or "", raising=False)
    house(profiles={"m": {"effort": "low"}})
    assert " at 0x" not in seen[0]


def test_the_store_is_the_one_that_is_named() -> None:
    assert assemble_store(load_settings()).kind == "disk"
    assert assemble_store(load_settings(cache_url="redis://localhost:1/0")).kind == "redis"


@pytest.mark.parametrize(
    "wrong", [{"cache": "maybe"}, {"cache_ttl": 0}, {"cache_keep": "pause_turn"}, {"cache_size": "1"}]
)
def test_wrong_settings_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="HEADGATE_CACHE"):
        load_settings(**wrong)


def test_lists_and_sizes() -> None:
    settings = load_settings(cache_keep="refusal, max_tokens", cache_size="2GiB", cache_url=" ")
    assert (settings.cache_keep, settings.cache_size, settings.cache_url) == (
        ("refusal", "max_tokens"), 2 * 1024**3, None,
    )  # fmt: skip
