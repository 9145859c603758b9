"""What this process knows to be secret, and hides wherever it stands."""

from __future__ import annotations

import pytest

from headgate.choice import address_of
from headgate.recording import secrets_of
from headgate.settings import BackendName, load_settings
from tests.fakes.gateway import OURS
from wire import upstream_errors
from wire.upstream_errors import from_status, hide

KEY = "of-no-known-form-12345"


@pytest.fixture
def settled(monkeypatch, tmp_path):
    """Settings of nothing but what is given."""
    import os

    for name in os.environ:
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return load_settings


@pytest.mark.parametrize(
    "given",
    [
        {"OPENROUTER_API_KEY": KEY},
        {"OPENROUTER_API_KEYS": f"other-key-1,{KEY}*3"},
        {"HEADGATE_API_KEYS": f"one-key-12,{KEY}"},
        {"OTEL_EXPORTER_OTLP_HEADERS": f"a=b,x-api-key={KEY}"},
        {"OPENAI_COMPATIBLE_BASE_URL": f"http://me:{KEY}@127.0.0.1:1/v1"},
        {"DATABASE_URL": f"postgresql://me:{KEY}@127.0.0.1/x"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_every_place_of_a_key_is_known(settled, given):
    assert KEY in set(secrets_of(settled(**given)))


def test_a_providers_key_that_only_the_file_has_is_known(settled, tmp_path):
    (tmp_path / ".env").write_text(f"MISTRAL_API_KEY={KEY}\n")
    assert KEY in set(secrets_of(settled()))


def test_an_address_is_told_without_its_password(settled):
    settings = settled(OPENAI_COMPATIBLE_BASE_URL=f"http://me:{KEY}@127.0.0.1:1/v1")
    assert address_of(settings, BackendName.OPENAI_COMPATIBLE) == "http://127.0.0.1:1/v1"


@pytest.mark.parametrize("wire", ["messages", "chat"])
@pytest.mark.parametrize(
    "body",
    [
        '{"type": "error", "error": {"type": "api_error", "message": "bad key KEY"}}',
        "bad key KEY",
        "<html><title>bad key KEY</title></html>",
        '{"error": {"code": 500, "message": "no", "metadata": {"raw": "bad key KEY"}}}',
    ],
)
def test_an_upstream_that_quotes_our_key_does_not_pass_it_on(monkeypatch, body, wire):
    monkeypatch.setattr(upstream_errors, "_known", set())
    hide([KEY, "short"])
    error = from_status(500, body.replace("KEY", KEY).encode(), {}, wire=wire, whose_key="A_KEY")
    assert KEY not in error.message
    assert error.verbatim is None
    assert "bad key [hidden key]" in error.message
