"""Settings: where they come from, and which contradictions stop the start."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from headgate.asking import asking
from headgate.choice import choose_backend
from headgate.gateway_client import GatewayClient
from headgate.moments import ago
from headgate.settings import BackendName, Settings, SettingsError, is_loopback, load_settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch, tmp_path):
    for name in (
        "PROXY_BACKEND",
        "OPENROUTER_API_KEY",
        "HEADGATE_API_KEYS",
        "HEADGATE_PORT",
        "PREFECT_API_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_no_key_means_the_demo():
    choice = choose_backend(load_settings())
    assert choice.backend is BackendName.DEMO
    assert "no key" in choice.why


@pytest.mark.parametrize(
    "name",
    ["HEADGATE_CACHE_TTLS", "HEADGATE_FALLBACKS", "HEADGATE_PROFILES", "HEADGATE_UNIVERSAL_FALLBACKS"],
)
def test_a_table_that_is_no_json_is_told(monkeypatch, name):
    monkeypatch.setenv(name, "big=small")
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_a_key_chooses_its_backend(monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-1")
    choice = choose_backend(load_settings())
    assert (choice.backend, choice.why) == (BackendName.OPENROUTER, "OPENROUTER_API_KEY is set")


def test_a_backend_without_its_key_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("PROXY_BACKEND", "openrouter")
    monkeypatch.setenv("OPENROUTER_API_KEY", "")
    with pytest.raises(SettingsError, match="OPENROUTER_API_KEY"):
        choose_backend(load_settings())


def test_an_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv("PROXY_BACKEND", "MAGIC")
    with pytest.raises(SettingsError, match="PROXY_BACKEND=MAGIC"):
        choose_backend(load_settings())


def test_a_wrong_value_names_its_variable(monkeypatch):
    monkeypatch.setenv("HEADGATE_PORT", "many")
    with pytest.raises(SettingsError, match="HEADGATE_PORT"):
        load_settings()


def test_keys_are_split_and_do_not_print(monkeypatch):
    monkeypatch.setenv("HEADGATE_API_KEYS", " key-one, key-two ,")
    settings = load_settings()
    assert [key.get_secret_value() for key in settings.api_keys] == ["key-one", "key-two"]
    assert "key-one" not in repr(settings)


def test_the_command_line_comes_first(monkeypatch):
    monkeypatch.setenv("HEADGATE_PORT", "1")
    assert load_settings(port=2, host=None).port == 2


def test_env_file_is_read(tmp_path):
    (tmp_path / ".env").write_text("OPENROUTER_API_KEY=sk-or-file\nOTHER=1\n")
    assert choose_backend(load_settings()).backend is BackendName.OPENROUTER


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_needs_no_key(host):
    assert is_loopback(host)
    load_settings().check_binding(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::"])
def test_elsewhere_needs_a_key(host, monkeypatch):
    with pytest.raises(SettingsError, match="HEADGATE_API_KEYS"):
        load_settings().check_binding(host)
    monkeypatch.setenv("HEADGATE_API_KEYS", "k")
    load_settings().check_binding(host)


def test_aliases_and_overrides(monkeypatch):
    monkeypatch.setenv("HEADGATE_MODELS", '{"claude-haiku-4-5": "openai/gpt-5-mini"}')
    aliases = load_settings(small_model="x/y").aliases
    assert aliases == {
        "big": "anthropic/claude-sonnet-4",
        "small": "x/y",
        "claude-haiku-4-5": "openai/gpt-5-mini",
    }


@pytest.mark.parametrize("page", ["README.md", ".env.example"])
def test_every_setting_is_told(page):
    text = (Path(__file__).parents[2] / page).read_text()
    told = {field.alias for field in Settings.model_fields.values() if f"{field.alias}" in text}
    assert {field.alias for field in Settings.model_fields.values()} - told == set()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HEADGATE_PROFILES", "{bad", "HEADGATE_PROFILES: .*not valid JSON"),
        ("HEADGATE_PROFILES", '{"x": {"efort": 1}}', r"HEADGATE_PROFILES\.x\.efort"),
        ("HEADGATE_UNIVERSAL_FALLBACKS", "{bad", "HEADGATE_UNIVERSAL_FALLBACKS: .*not valid JSON"),
        ("HEADGATE_FALLBACKS", "{bad", "HEADGATE_FALLBACKS: .*not valid JSON"),
        ("HEADGATE_MODELS", "{bad", "HEADGATE_MODELS: .*not valid JSON"),
        ("OPENAI_COMPATIBLE_BASE_URL", "localhost:8000", "OPENAI_COMPATIBLE_BASE_URL: .*http://"),
        ("OPENROUTER_BASE_URL", "openrouter.ai", "OPENROUTER_BASE_URL: .*http://"),
    ],
)
def test_what_is_wrong_with_a_table_or_an_address_is_told(monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=said):
        load_settings()


@pytest.mark.parametrize("variable", ["HEADGATE_PROFILES", "HEADGATE_UNIVERSAL_FALLBACKS"])
def test_an_empty_table_is_none(monkeypatch, variable):
    monkeypatch.setenv(variable, "")
    settings = load_settings()
    assert (settings.profiles, settings.universal_fallbacks) == ({}, {})


def test_profiles_and_fallbacks_are_read_from_json(monkeypatch):
    monkeypatch.setenv("HEADGATE_PROFILES", '{"openai/*": {"effort": "low"}}')
    monkeypatch.setenv("HEADGATE_UNIVERSAL_FALLBACKS", '{"gpt-5": "claude-sonnet-4-5"}')
    settings = load_settings()
    assert settings.profiles["openai/*"].effort == "low"
    assert settings.universal_fallbacks == {"gpt-5": ("claude-sonnet-4-5",)}


def test_empty_addresses_are_the_usual_ones() -> None:
    settings = load_settings(openrouter_base_url="", anthropic_url=" ")
    assert settings.openrouter_base_url == "https://openrouter.ai/api/v1"
    assert settings.anthropic_url == "https://api.anthropic.com"


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/all"}, "http://c/all"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_traces_go_where_opentelemetrys_variables_say(monkeypatch, variables, url):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings().traces_url == url


@pytest.mark.parametrize(("admin", "sent"), [(True, "an-admins-key"), (False, None)])
def test_the_admins_key_goes_only_where_one_is_wanted(monkeypatch, admin, sent):
    monkeypatch.setenv("HEADGATE_ADMIN_KEYS", "an-admins-key")
    asked = []

    class Client(GatewayClient):
        def __init__(self, url: str, admin_key: str | None, client_key: str | None) -> None:
            asked.append(admin_key)
            super().__init__(url, admin_key, client_key)

    with asking(Client, None, admin=admin):
        pass
    assert asked == [sent]


@pytest.mark.parametrize("text", ["999999d", "soon", "9999-99-99"])
def test_a_time_that_is_none_is_told(text):
    with pytest.raises(typer.BadParameter, match="no time"):
        ago(text)
