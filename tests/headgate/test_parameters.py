"""Parameters and profiles from the environment: a wrong one stops the start, by its variable's name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from headgate.parameters import load_presets
from headgate.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith(("OPENROUTER_", "OPENAI_", "HEADGATE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_nothing_is_preset_by_itself(monkeypatch):
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "OPENROUTER_WIRE", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "x")
    assert (load_presets().openrouter, load_presets().openai) == ({}, {})


def test_the_environment_before_the_env_file(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text('OPENROUTER_MIN_P=0.1\nOPENAI_SEED=3\nOPENROUTER_PROVIDER={"zdr": true}\n')
    monkeypatch.setenv("OPENROUTER_MIN_P", "0.2")
    presets = load_presets()
    assert presets.openrouter == {"min_p": 0.2, "provider": {"zdr": True}}
    assert presets.openai == {"seed": 3}


@pytest.mark.parametrize(
    ("variable", "value", "refusal"),
    [
        ("OPENROUTER_MIN_P", "2", "OPENROUTER_MIN_P: min_p: must be between 0 and 1"),
        ("OPENROUTER_PROVIDER", '{"sort": "x"}', "OPENROUTER_PROVIDER: provider.sort: must be one of"),
        ("OPENROUTER_PROVIDER", "price", "OPENROUTER_PROVIDER: provider: must be JSON"),
        ("OPENAI_SEED", "many", "OPENAI_SEED: seed: must be JSON: an integer"),
    ],
)
def test_a_wrong_one_is_refused_by_name(monkeypatch, variable, value, refusal):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"^{refusal}"):
        load_presets()


def test_a_wrong_one_stops_the_start(tmp_path):
    environment = {**os.environ, "OPENROUTER_TOP_A": "9", "HEADGATE_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "headgate", "serve", "--port", "0", "--no-prefect"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.strip() == "headgate: OPENROUTER_TOP_A: top_a: must be between 0 and 1"


def test_profiles_are_read(monkeypatch):
    monkeypatch.setenv("HEADGATE_PROFILES", '{"openai/*": {"effort": "low"}, "x": {"tool_timeout": 5}}')
    monkeypatch.setenv("HEADGATE_THINKING", "off")
    monkeypatch.setenv("HEADGATE_PROMPT_CACHE", "auto")
    settings = load_settings()
    assert settings.profiles["openai/*"].effort == "low"
    assert settings.profiles["x"].tool_timeout == 5
    assert settings.thinking == "off"
    assert settings.prompt_cache == "auto"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADGATE_PROFILES", '{"x": {"effort": "huge"}}'),
        ("HEADGATE_PROFILES", '{"x": {"tool_timeout": 0}}'),
        ("HEADGATE_PROFILES", '{"x": {"timeout": 3}}'),
        ("HEADGATE_THINKING", "sometimes"),
        ("HEADGATE_PROMPT_CACHE", "on"),
    ],
)
def test_a_wrong_profile_is_refused_by_name(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"^{variable}"):
        load_settings()
