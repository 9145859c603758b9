"""Which backend is chosen, for every combination of settings that matters, and which ones refuse to start."""

from __future__ import annotations

import pytest

from coordinators.http_upstream import HttpUpstream
from headgate.backends import assemble, weighted_keys
from headgate.choice import choose_backend
from headgate.settings import BackendName, SettingsError, load_settings
from wire.errors import KeyRefused, Overloaded

OR = {"OPENROUTER_API_KEY": "sk-or-1"}
KEYS = {"OPENROUTER_API_KEYS": "sk-or-1*2,sk-or-2"}
DB = {"DATABRICKS_HOST": "https://adb-1.net", "DATABRICKS_TOKEN": "dapi-1"}
AN = {"ANTHROPIC_API_KEY": "sk-ant-1"}
OC = {"OPENAI_COMPATIBLE_BASE_URL": "http://127.0.0.1:8000/v1"}
VARIABLES = (
    "PROXY_BACKEND", "USE_LITELLM", "BYPASS_LITELLM_ENABLED", "AZURE_DATABRICKS_ENABLED", "DATABRICKS_MODELS",
    "OPENAI_COMPATIBLE_API_KEY", "HEADGATE_ROUTES", "HEADGATE_FALLBACKS", *OR, *KEYS, *DB, *AN, *OC,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def settings_of(monkeypatch, given):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize(
    ("given", "backend", "why"),
    [
        ({}, "DEMO", "no backend is configured and no key was found"),
        (OR, "OPENROUTER", "OPENROUTER_API_KEY is set"),
        (KEYS, "OPENROUTER", "OPENROUTER_API_KEYS is set"),
        (DB, "AZURE_DATABRICKS", "DATABRICKS_HOST and DATABRICKS_TOKEN are set"),
        (AN, "ANTHROPIC", "ANTHROPIC_API_KEY is set"),
        (OC, "OPENAI_COMPATIBLE", "OPENAI_COMPATIBLE_BASE_URL is set"),
        (OR | DB | AN | OC, "OPENROUTER", "OPENROUTER_API_KEY is set"),
        (DB | AN | OC, "AZURE_DATABRICKS", "DATABRICKS_HOST and DATABRICKS_TOKEN are set"),
        (AN | OC, "OPENAI_COMPATIBLE", "OPENAI_COMPATIBLE_BASE_URL is set"),
        ({"DATABRICKS_HOST": "https://adb-1.net"} | AN, "ANTHROPIC", "ANTHROPIC_API_KEY is set"),
        ({"OPENROUTER_API_KEY": " "}, "DEMO", "no backend is configured and no key was found"),
        (OR | DB | {"AZURE_DATABRICKS_ENABLED": "true"}, "AZURE_DATABRICKS", "AZURE_DATABRICKS_ENABLED=true"),
        (DB | AN | {"AZURE_DATABRICKS_ENABLED": "false"}, "ANTHROPIC", "ANTHROPIC_API_KEY is set"),
        (OR | {"USE_LITELLM": "true"}, "LITELLM_OPENROUTER", "USE_LITELLM=true"),
        (OR | {"USE_LITELLM": "false"}, "OPENROUTER", "OPENROUTER_API_KEY is set"),
        (OR | {"USE_LITELLM": ""}, "OPENROUTER", "OPENROUTER_API_KEY is set"),
        (OR | DB | {"BYPASS_LITELLM_ENABLED": "true"}, "OPENROUTER", "BYPASS_LITELLM_ENABLED=true"),
        (OR | {"BYPASS_LITELLM_ENABLED": "false"}, "OPENROUTER", "OPENROUTER_API_KEY is set"),
        (
            OR | {"USE_LITELLM": "true", "BYPASS_LITELLM_ENABLED": "false"},
            "LITELLM_OPENROUTER",
            "USE_LITELLM=true",
        ),
        (OR | AN | {"PROXY_BACKEND": "anthropic"}, "ANTHROPIC", "PROXY_BACKEND=ANTHROPIC"),
        (OR | {"PROXY_BACKEND": "LITELLM_OPENROUTER", "USE_LITELLM": "true"}, "LITELLM_OPENROUTER", "PROXY"),
        (KEYS | {"PROXY_BACKEND": "LITELLM_OPENROUTER"}, "LITELLM_OPENROUTER", "PROXY_BACKEND"),
    ],
)
def test_what_is_chosen_and_why(monkeypatch, given, backend, why):
    choice = choose_backend(settings_of(monkeypatch, given))
    assert choice.backend == backend
    assert choice.why.startswith(why)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"PROXY_BACKEND": "MAGIC"}, ["PROXY_BACKEND=MAGIC", "AZURE_DATABRICKS"]),
        ({"PROXY_BACKEND": "DEMO"}, ["PROXY_BACKEND=DEMO"]),
        ({"PROXY_BACKEND": "OPENROUTER"}, ["PROXY_BACKEND", "OPENROUTER_API_KEY or OPENROUTER_API_KEYS"]),
        ({"PROXY_BACKEND": "LITELLM_OPENROUTER"} | AN, ["OPENROUTER_API_KEY"]),
        ({"PROXY_BACKEND": "AZURE_DATABRICKS"}, ["DATABRICKS_HOST and DATABRICKS_TOKEN"]),
        ({"PROXY_BACKEND": "AZURE_DATABRICKS", "DATABRICKS_HOST": "x"}, ["but DATABRICKS_TOKEN is not set"]),
        ({"PROXY_BACKEND": "ANTHROPIC"} | OR, ["ANTHROPIC_API_KEY"]),
        ({"PROXY_BACKEND": "OPENAI_COMPATIBLE", "OPENAI_COMPATIBLE_API_KEY": "k"},
         ["OPENAI_COMPATIBLE_BASE_URL"]),
        ({"USE_LITELLM": "true"}, ["USE_LITELLM=true", "OPENROUTER_API_KEY"]),
        ({"AZURE_DATABRICKS_ENABLED": "true"} | OR, ["AZURE_DATABRICKS_ENABLED=true", "DATABRICKS_HOST"]),
        (OR | {"USE_LITELLM": "true", "BYPASS_LITELLM_ENABLED": "true"},
         ["USE_LITELLM", "BYPASS_LITELLM_ENABLED"]),
        (OR | DB | {"USE_LITELLM": "1", "AZURE_DATABRICKS_ENABLED": "1"},
         ["USE_LITELLM", "AZURE_DATABRICKS"]),
        (OR | {"PROXY_BACKEND": "OPENROUTER", "USE_LITELLM": "true"},
         ["PROXY_BACKEND=OPENROUTER", "USE_LITELLM"]),
        (DB | AN | {"PROXY_BACKEND": "ANTHROPIC", "AZURE_DATABRICKS_ENABLED": "true"},
         ["AZURE_DATABRICKS_ENABLED"]),
        (OR | KEYS, ["OPENROUTER_API_KEY and OPENROUTER_API_KEYS"]),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_by_name(monkeypatch, given, names):
    with pytest.raises(SettingsError) as refused:
        choose_backend(settings_of(monkeypatch, given))
    for name in names:
        assert name in str(refused.value)
    assert "sk-" not in str(refused.value)
    assert "dapi" not in str(refused.value)


def test_the_others_can_be_had_by_prefix(monkeypatch):
    choice = choose_backend(settings_of(monkeypatch, OR | DB | AN))
    assert [name.prefix for name in choice.others] == ["litellm", "databricks", "anthropic"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"HEADGATE_ROUTES": '{"x": "databricks"}'}, "'databricks' has no key or address"),
        ({"HEADGATE_FALLBACKS": '{"x": ["magic"]}'}, "'magic'"),
    ],
)
def test_a_route_to_nowhere_refuses_to_start(monkeypatch, given, told):
    settings = settings_of(monkeypatch, OR | given)
    with pytest.raises(SettingsError, match="HEADGATE_ROUTES or HEADGATE_FALLBACKS") as refused:
        assemble(settings, HttpUpstream())
    assert told in str(refused.value)


def test_bad_json_names_its_variable(monkeypatch):
    with pytest.raises(SettingsError, match="HEADGATE_FALLBACKS"):
        settings_of(monkeypatch, {"HEADGATE_FALLBACKS": '{"x": [5]}'})
    with pytest.raises(SettingsError, match="HEADGATE_FALLBACKS"):
        settings_of(monkeypatch, {"HEADGATE_FALLBACKS": "{"})


def test_everything_configured_is_assembled(monkeypatch):
    table = assemble(settings_of(monkeypatch, KEYS | DB | AN | OC), HttpUpstream())
    assert next(iter(table.backends)) == "openrouter"
    assert {"openrouter", "databricks", "anthropic", "openai_compatible"} <= table.backends.keys()
    assert table.default.size == 2
    assert "sk-or" not in str(table.default.state())


def test_the_demo_fails_as_often_as_it_is_asked_to(monkeypatch):
    demo = assemble(settings_of(monkeypatch, {}), HttpUpstream(), "http://127.0.0.1:1/api/v1").default
    for error in [Overloaded("as asked"), KeyRefused("as asked")] * 9:
        demo.pick("m").failed(error, "m")
    assert demo.pick("m").admits("m")


@pytest.mark.parametrize(
    ("told", "keys"),
    [
        ("a", [("a", 1)]),
        ("a*3, b ,c*0", [("a", 3), ("b", 1), ("c", 1)]),
        ("sk-or*x*2", [("sk-or*x", 2)]),
        (" , ", []),
        ("a*", [("a*", 1)]),
    ],
)
def test_keys_and_weights(told, keys):
    assert weighted_keys(told) == keys


def test_prefixes():
    assert [name.prefix for name in BackendName] == [
        "openrouter", "litellm", "databricks", "anthropic", "openai_compatible", "demo",
    ]  # fmt: skip
