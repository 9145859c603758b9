"""Requests are captured as HEADGATE_CAPTURE says: which, how, and at no risk to the request."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import orjson
import pytest
import structlog

from coordinators import capturing
from coordinators.capture_seal import seal_of
from coordinators.captures import CaptureFolder
from headgate.capture_parts import assemble_capturing, folder_of
from headgate.settings import SettingsError, load_settings
from tests.headgate.test_planted_errors import CHAT, serving

KEY = "c2VjcmV0LWtleS1vZi0zMi1ieXRlcy1mb3ItdGVzdHM"
SEAL = seal_of([b"secret-key-of-32-bytes-for-tests"])
PROMPT = "CANARY prompt"
ASK = {"model": "openai/gpt-5", "max_tokens": 50, "messages": [{"role": "user", "content": PROMPT}]}
ERRORS = {"HEADGATE_CAPTURE": "errors", "HEADGATE_CAPTURE_KEY": KEY}
ALL = ERRORS | {"HEADGATE_CAPTURE": "all"}
HEADERS = {
    "x-api-key": "CANARY-key", "authorization": "Bearer CANARY-token", "cookie": "CANARY=cookie",
    "anthropic-version": "2023-06-01", "anthropic-beta": "a-beta", "x-headgate-cache": "off",
    "x-headgate-admin-key": "CANARY-admin", "x-claude-code-session-id": "session-1", "user-agent": "me",
}  # fmt: skip


def folder_at(tmp_path: Path) -> CaptureFolder:
    return CaptureFolder(tmp_path / "data" / "captures", most=10**8, hours=72)


def opened(folder, request_id):
    return folder.open(folder.find(request_id), SEAL)


async def settled(app):
    """Give what captures, once it was told of all requests and has written them."""
    await asyncio.sleep(0.01)  # runs end after their answer is sent
    observer = app.state.gateway._runs._observers[-1]
    observer._writer.submit(int).result()
    return observer


def written(folder):
    return b"".join(path.read_bytes() for path in folder.path.iterdir())


async def test_off_nothing_is_on_the_requests_path(openrouter, tmp_path, monkeypatch):
    openrouter.script({"status": 500, "message": "no"})
    async with serving(openrouter, tmp_path, monkeypatch) as (client, _, _, app):
        assert not any(isinstance(one, capturing.Capturing) for one in app.state.gateway._runs._observers)
        assert (await client.post("/v1/messages", json=ASK)).status_code == 500
    assert not folder_at(tmp_path).path.exists()


async def test_errors_keeps_what_failed_and_nothing_else(openrouter, tmp_path, monkeypatch):
    openrouter.script(
        {"text": "fine"}, {"status": 503, "message": "busy"}, {"status": 401, "message": "no key"}
    )
    async with serving(openrouter, tmp_path, monkeypatch, **ERRORS) as (client, _, _, _):
        well = await client.post("/v1/messages", json=ASK, headers=HEADERS)
        failed = await client.post("/v1/messages?beta=true", json=ASK, headers=HEADERS)
        refused = await client.post("/v1/messages", json=ASK)
        wrong = await client.post("/v1/messages", content=b'{"model": CANARY')
    assert [one.status_code for one in (well, failed, refused, wrong)] == [200, 529, 403, 400]
    folder = folder_at(tmp_path)
    assert {one.id for one in folder.newest()} == {one.headers["request-id"] for one in (failed, wrong)}
    found = folder.find(failed.headers["request-id"])
    assert found.facts | {"time": None, "ms": None, "error_hash": None, "key": None} == {
        "id": found.id, "time": None, "flow": "messages", "format": "anthropic", "model": "openai/gpt-5",
        "backend": "openrouter", "status": 529, "ms": None, "stream": False, "error": "Overloaded",
        "error_hash": None, "body_bytes": len(failed.request.content), "body_left_out": False,
        "sealed": "encrypted", "key": None,
    }  # fmt: skip
    content = opened(folder, found.id)
    assert content.body == failed.request.content
    assert content.headers == {
        "anthropic-version": "2023-06-01", "anthropic-beta": "a-beta", "x-headgate-cache": "off",
        "x-claude-code-session-id": "session-1",
    }  # fmt: skip
    assert content.error == "busy"
    assert [name for name, _ in content.steps][:2] == ["validate_request-0", "resolve_model-0"]
    assert opened(folder, wrong.headers["request-id"]).body == b'{"model": CANARY'
    assert b"CANARY" not in written(folder)


async def test_all_keeps_answers_too(openrouter, tmp_path, monkeypatch):
    openrouter.script({"text": "The answer.", "times": 0})
    async with serving(openrouter, tmp_path, monkeypatch, **ALL) as (client, _, _, _):
        whole = await client.post("/v1/messages", json=ASK)
        streamed = await client.post("/v1/messages", json=ASK | {"stream": True})
        chat = await client.post("/v1/chat/completions", json=CHAT | {"stream": True})
    folder = folder_at(tmp_path)
    assert orjson.loads(opened(folder, whole.headers["request-id"]).answer) == whole.json()
    message = orjson.loads(opened(folder, streamed.headers["request-id"]).answer)
    assert (message["content"], message["role"]) == ([{"type": "text", "text": "The answer."}], "assistant")
    kept = opened(folder, chat.headers["request-id"])
    assert kept.answer == chat.content
    assert kept.summary["ttft_ms"] > 0


async def test_without_a_key_prompts_and_answers_are_redacted(openrouter, tmp_path, monkeypatch):
    openrouter.script({"text": "CANARY answer", "times": 0})
    async with serving(openrouter, tmp_path, monkeypatch, HEADGATE_CAPTURE="all") as (client, _, _, _):
        one = await client.post("/v1/messages", json=ASK | {"stream": True})
        two = await client.post("/v1/chat/completions", json=CHAT | {"stream": True})
        await client.post("/v1/messages", content=b'"CANARY')
    folder = folder_at(tmp_path)
    assert len(list(folder.newest())) == 3
    assert b"CANARY" not in written(folder)
    assert orjson.loads(opened(folder, one.headers["request-id"]).answer)["content"][0]["type"] == "text"
    assert opened(folder, two.headers["request-id"]).answer is None


async def test_a_stream_that_breaks_off_is_kept_with_what_came(openrouter, tmp_path, monkeypatch):
    openrouter.script({"text": "One two three four five six.", "fault": "truncate", "after": 2})
    async with serving(openrouter, tmp_path, monkeypatch, **ALL) as (client, _, _, _):
        answer = await client.post("/v1/messages", json=ASK | {"stream": True})
    assert b"event: error" in answer.content
    content = opened(folder_at(tmp_path), answer.headers["request-id"])
    assert content.error
    message = orjson.loads(content.answer)
    assert "One two three".startswith(message["content"][0]["text"][:8])
    assert message["stop_reason"] is None


async def test_what_is_too_long_is_left_out(openrouter, tmp_path, monkeypatch):
    openrouter.script({"text": "word " * 3000, "times": 0})
    settings = ALL | {"HEADGATE_CAPTURE_LARGEST": "8KiB"}
    async with serving(openrouter, tmp_path, monkeypatch, **settings) as (client, _, _, _):
        answers = [
            await client.post("/v1/messages", json=ASK | {"stream": stream}) for stream in (False, True)
        ]
        long = await client.post("/v1/messages", json=ASK | {"system": "x" * 9000})
    folder = folder_at(tmp_path)
    for answer in answers:
        content = opened(folder, answer.headers["request-id"])
        assert (content.answer, content.body is None) == (None, False)
    assert opened(folder, long.headers["request-id"]).body is None
    assert folder.find(long.headers["request-id"]).facts["body_left_out"] is True


async def test_the_body_is_kept_as_the_flow_saw_it(openrouter, tmp_path, monkeypatch):
    openrouter.script({"text": "fine", "times": 0})
    settings = ALL | {"HEADGATE_CACHE": "on"}
    async with serving(openrouter, tmp_path, monkeypatch, **settings) as (client, _, _, _):
        cached = await client.post("/v1/cache/messages/stream", json=ASK | {"cache": {}})
        warmed = await client.post("/v1/cache/warm", json={"requests": [ASK]})
        universal = await client.post("/v1/universal/stream?output=openai", json=ASK)
    assert warmed.status_code == 200
    folder = folder_at(tmp_path)
    assert cached.status_code == 200, cached.text
    assert orjson.loads(opened(folder, cached.headers["request-id"]).body) == ASK | {"stream": True}
    assert orjson.loads(opened(folder, universal.headers["request-id"]).body) == ASK | {
        "stream": True, "output": "openai",
    }  # fmt: skip
    assert "warm_cache" not in {one.facts["flow"] for one in folder.newest()}


async def test_a_full_disk_loses_the_capture_and_not_the_request(openrouter, tmp_path, monkeypatch):
    openrouter.script({"text": "fine", "times": 0})
    full = [True]
    write = CaptureFolder.write

    def failing(self, *args):
        if full[0]:
            raise OSError(28, "No space left on device")
        write(self, *args)

    monkeypatch.setattr(CaptureFolder, "write", failing)
    with structlog.testing.capture_logs() as logs:
        async with serving(openrouter, tmp_path, monkeypatch, **ALL) as (client, _, _, app):
            for _ in range(3):
                assert (await client.post("/v1/messages", json=ASK)).status_code == 200
            observer = await settled(app)
            told = (await client.get("/debug/server/instance")).json()
            assert told["lines_lost"]["captures"] == observer.lost == 3
            full[0] = False
            assert (await client.post("/v1/messages", json=ASK)).status_code == 200
    assert sum(line["event"] == "requests are not captured" for line in logs) == 1
    assert len(list(folder_at(tmp_path).newest())) == 1


async def test_what_waits_too_long_is_lost_and_an_odd_body_ends_nothing(openrouter, tmp_path, monkeypatch):
    openrouter.script({"text": "fine", "times": 0})
    async with serving(openrouter, tmp_path, monkeypatch, **ALL) as (client, _, _, app):
        with monkeypatch.context() as patched:
            patched.setattr(capturing, "_MOST_WAITING", 1)
            await client.post("/v1/messages", json=ASK)
            observer = await settled(app)
        assert observer.lost == 1
        monkeypatch.setattr(capturing, "received", lambda _: 1 / 0)
        await client.post("/v1/messages", json=ASK)
        await settled(app)
        assert observer.lost == 2


def test_off_there_is_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = load_settings(data_dir=tmp_path)
    assert assemble_capturing(settings, None) is None
    assert folder_of(settings).path == tmp_path / "captures"
    assert settings.capture_keys == ()


@pytest.mark.parametrize("key", ["short", KEY[:-1], f"{KEY},nonsense", f"{KEY}AAAA", "ä" * 43])
def test_a_wrong_key_is_refused_at_the_start_and_not_shown(monkeypatch, tmp_path, key):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADGATE_CAPTURE_KEY", key)
    with pytest.raises(SettingsError, match=r"HEADGATE_CAPTURE_KEY: .*32 bytes in URL-safe base64") as told:
        load_settings()
    assert key not in str(told.value)


def test_several_keys_are_read(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADGATE_CAPTURE_KEY", f"{KEY}= , {'A' * 43}")
    assert load_settings().capture_keys == (b"secret-key-of-32-bytes-for-tests", bytes(32))
    monkeypatch.setenv("HEADGATE_CAPTURE", "some")
    with pytest.raises(SettingsError, match="HEADGATE_CAPTURE"):
        load_settings()


def test_the_key_is_masked_where_settings_are_written(monkeypatch, tmp_path):
    from headgate.recording import scrubber_of, shown

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADGATE_CAPTURE_KEY", f"{KEY},{'A' * 43}")
    settings = load_settings()
    assert KEY not in json.dumps(shown(settings, scrubber_of(settings)), default=str)
    assert KEY not in scrubber_of(settings).text(f"it is {KEY}")
