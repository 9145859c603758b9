"""Every path that a request, a command or a failure can take through a server, with canaries in all of it."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.headgate.canary_world import ANSWER, QUOTED, World

CHAT, MESSAGES = "openai/gpt-5", "anthropic/claude-sonnet-4"
STATUSES = (400, 401, 402, 403, 404, 408, 413, 429, 500, 529)
NONE: frozenset[str] = frozenset()


# ---- what is sent


def request(world: World, model: str, **more: Any) -> dict[str, Any]:
    """Give a Messages request that has a canary wherever a client can put a text."""
    sent = world.sent
    image = base64.b64encode(bytes.fromhex("89504e470d0a1a0a") + sent["image"].encode()).decode()
    return {
        "model": model,
        "max_tokens": 2000,
        "system": [{"type": "text", "text": sent["system"]}],
        "stop_sequences": [sent["stop sequence"]],
        "metadata": {"user_id": json.dumps({"device_id": sent["user id"]})},
        "tools": [
            {
                "name": "look",
                "description": sent["tool description"],
                "input_schema": {"type": "object", "properties": {"where": {"type": "string"}}},
            }
        ],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": sent["user"]},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": sent["thinking"], "signature": "c2lnbmF0dXJl"},
                    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"x": sent["tool input"]}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": sent["tool result"]},
                    {"type": "text", "text": sent["user"]},
                ],
            },
        ],
        **more,
    }


def openai_request(world: World, model: str, **more: Any) -> dict[str, Any]:
    """Give the like in OpenAI's form."""
    sent = world.sent
    call = {"name": "look", "arguments": json.dumps({"x": sent["tool input"]})}
    tool = {"name": "look", "description": sent["tool description"], "parameters": {"type": "object"}}
    return {
        "model": model,
        "max_tokens": 2000,
        "user": sent["user id"],
        "stop": [sent["stop sequence"]],
        "tools": [{"type": "function", "function": tool}],
        "messages": [
            {"role": "system", "content": sent["system"]},
            {"role": "user", "content": sent["user"]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": sent["tool result"]},
        ],
        **more,
    }


def reply(world: World, **more: Any) -> dict[str, Any]:
    """Give the upstream's answer, as often as it is asked."""
    sent = world.sent
    return {
        "reasoning": sent["answer's thinking"],
        "text": sent["answer"],
        "tools": [{"name": "look", "input": {"where": sent["answer's tool input"]}}],
        "headers": {"set-cookie": f"id={sent['cookie']}", "x-echo": sent["cookie"]},
        "times": 0,
        **more,
    }


def quoting(world: World, *keys: str) -> str:
    """Give the message of an upstream that quotes the key it refuses, and the prompt."""
    said = [world.sent[key].removesuffix("*2") for key in keys]
    return f"cannot do {world.sent['user']} for {' or '.join(said)}, told {world.sent['system']}"


def post(
    world: World, body: Any, path: str = "/v1/messages", may: frozenset[str] = ANSWER, **more: Any
) -> Any:
    return world.ask("POST", path, body, may=may, **more)


# ---- answers


def answers(world: World) -> None:
    """Every door, whole and streamed, on each backend's wire."""
    for fake in (world.openrouter, world.backends, world.providers):
        fake.script(reply(world), lenient=True)
    models = [CHAT, MESSAGES, "databricks:databricks-claude-sonnet-4", "databricks:databricks-gpt-oss-120b"]
    models += ["anthropic:claude-opus-4-6", "openai_compatible:qwen2.5:0.5b", f"litellm:{CHAT}"]
    for model in models:
        for stream in (False, True):
            post(world, request(world, model, stream=stream))
            post(world, openai_request(world, model, stream=stream), "/v1/chat/completions")
    post(world, request(world, CHAT), "/v1/messages/count_tokens", NONE)
    post(world, request(world, MESSAGES), "/v1/messages/count_tokens", NONE)


PROVIDERS = {
    "claude-sonnet-4-5": "ANTHROPIC_API_KEY", "gpt-4o": "OPENAI_API_KEY",
    "gemini-2.5-flash": "GEMINI_API_KEY",
    "command-a-03-2025": "COHERE_API_KEY", "mistral-large-latest": "MISTRAL_API_KEY",
    "azure/gpt-4o": "AZURE_API_KEY",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": "AWS_SECRET_ACCESS_KEY",
}  # fmt: skip


def universal(world: World) -> None:
    """Every provider of the universal stream: answers, refusals that quote its key, errors in mid-stream."""
    for model, key in PROVIDERS.items():
        plain = {name: value for name, value in request(world, model).items() if name != "stop_sequences"}
        plain["messages"] = plain["messages"][:1]
        told = quoting(world, key)
        fakes = (world.providers, world.backends)  # Anthropic's address is the backend's
        for rule, may in (
            (reply(world), ANSWER),
            *((({"status": status, "message": told, "times": 0}), QUOTED) for status in (400, 401, 500)),
            (reply(world, fault="error_frame", after=2, error={"message": told}), ANSWER | QUOTED),
            (reply(world, fault="reset", after=2), ANSWER),
        ):
            for fake in fakes:
                fake.script(rule, lenient=True)
            output = "openai" if rule.get("status") == 400 else "universal"
            post(world, plain, f"/v1/universal/stream?output={output}", may)
    world.ask("GET", "/v1/universal/providers")
    world.ask("GET", "/v1/universal/health")


# ---- refusals


def wrong_fields(world: World) -> list[dict[str, Any]]:
    """Requests with a canary where something else is expected."""
    bad = world.sent["wrong field"]
    usual = request(world, CHAT)
    changed: list[dict[str, Any]] = [
        {name: bad} for name in ("max_tokens", "messages", "temperature", "tools", "tool_choice", "stream",
                                 "thinking", "metadata", "top_k", "stop_sequences", "output_config", "min_p",
                                 "provider", "cache", "seed", "format")
    ]  # fmt: skip
    changed += [
        {"system": [{"type": bad, "text": bad}]},
        {"system": {bad: bad}},
        {"messages": [{"role": bad, "content": bad}]},
        {"messages": [{"role": "user", "content": [{"type": bad}]}]},
        {"messages": [{"role": "user", "content": {bad: bad}}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": bad}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {
            "type": "base64", "media_type": bad, "data": bad}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {
            "type": "url", "url": bad}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "document", "title": bad, "source": {
            "type": "base64", "media_type": "text/html", "data": bad}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": bad}]}]},
        {"tools": [{"name": bad, "input_schema": bad}]},
        {"tools": [{"type": bad, "name": "x"}]},
        {"tool_choice": {"type": bad}},
        {"tool_choice": {"type": "tool", "name": bad}},
        {"thinking": {"type": bad}},
        {"thinking": {"type": "enabled", "budget_tokens": bad}},
        {"cache": {bad: bad}},
        {"provider": {"order": bad, bad: bad}},
        {"output_config": {"effort": bad}},
        {"output_config": {"format": {"type": bad}}},
    ]  # fmt: skip
    return [usual | one for one in changed]


def refusals(world: World) -> None:
    """What is refused before anything goes upstream."""
    world.openrouter.script(reply(world), lenient=True)
    own = frozenset({"wrong field"})  # what the client gets back is its own
    for body in wrong_fields(world):
        post(world, body, may=own | ANSWER)
    for body in wrong_fields(world)[::3]:
        post(world, body | {"model": MESSAGES, "stream": True}, may=own | ANSWER)
    for body in wrong_fields(world)[::5]:
        post(world, body, "/v1/chat/completions", own | ANSWER)
        post(world, body, "/v1/universal/stream", own | ANSWER)
        post(world, body, "/v1/messages/count_tokens", own)
        post(world, {"requests": [{"custom_id": "a", "params": body}]}, "/v1/messages/batches", own)
        post(world, {"requests": [body]}, "/v1/cache/warm", own | ANSWER)
    told = json.dumps(request(world, CHAT)).encode()
    doors = ("messages", "chat/completions", "messages/count_tokens", "universal/stream", "messages/batches")
    for door in doors:
        for bad in (
            told[:-5],
            told.replace(b'"max_tokens"', b"max_tokens"),
            b"\xff" + told,
            told[1:],
            b'"' + told,
        ):
            world.ask("POST", f"/v1/{door}", content=bad)
        post(world, request(world, "nobody/knows"), f"/v1/{door}", QUOTED | ANSWER)
        for headers in wrong_keys(world):
            post(world, request(world, CHAT), f"/v1/{door}", NONE, headers=headers)
    for address in ("/v1/nowhere", "/v1/messages/batches/no-such-batch", "/debug/errors/hash/nothing"):
        world.ask("GET", address)
        world.ask("PUT", address, request(world, CHAT))
    for address in ("/debug/errors/search", "/overview", "/metrics", "/v1/cache/entries", "/health/detailed"):
        for headers in wrong_keys(world):
            world.ask("GET", address, headers=headers)
    world.ask("GET", f"/debug/errors/search?limit={world.sent['query']}")


def wrong_keys(world: World) -> list[dict[str, str]]:
    """The headers of clients whose key is wrong, in each place where one can be."""
    wrong = world.sent["wrong key"]
    basic = base64.b64encode(f"user:{wrong}".encode()).decode()
    return [
        {"x-api-key": wrong, "cookie": f"key={world.sent['cookie']}"},
        {"authorization": f"Bearer {wrong}"},
        {"authorization": f"Basic {basic}"},
        {"x-headgate-admin-key": wrong, "authorization": wrong},
    ]


def raw_bytes(world: World) -> None:
    """What is no proper HTTP, is too large, or is never sent whole."""
    key, wrong = world.sent["HEADGATE_API_KEYS"], world.sent["wrong key"]
    told = json.dumps(request(world, CHAT))
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n"
    for text in (
        f"POST /v1/messages HTTP/1.1\r\nhost: x\r\n{wrong} {told}\r\n\r\n",
        f"{wrong}\r\n\r\n{told}",
        f"{head}content-length: 50000000\r\n\r\n{told}",
        f"{head}content-length: {wrong}\r\n\r\n{told}",
        f"{head}content-length: {len(told) + 100}\r\n\r\n{told}",
        f"{head}transfer-encoding: chunked\r\n\r\nzz{wrong}\r\n{told}",
        f"{head}transfer-encoding: chunked\r\n\r\n{len(told):x}\r\n{told}",
        f"{head}content-encoding: gzip\r\ncontent-length: {len(told)}\r\n\r\n{told}",
        f"{head}x-long: {wrong * 4000}\r\n\r\n",
    ):
        world.keep(raw_answer(world, text.encode()))


def raw_answer(world: World, data: bytes) -> bytes:
    """Send bytes, give what comes within a moment, and hang up."""
    parts = urlsplit(world.gateway.url)
    came = b""
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=0.5) as connection:
        try:
            connection.sendall(data)
            while piece := connection.recv(65536):
                came += piece
        except OSError:
            pass
    return came


# ---- failures upstream


def upstream_errors(world: World) -> None:
    """Every status, on both wires, from an upstream that quotes the key and the prompt."""
    told = quoting(world, "OPENROUTER_API_KEYS")
    extra = {"metadata": {"raw": json.dumps({"error": {"message": told}}), "provider_name": "Some"}}
    for status in STATUSES:
        world.openrouter.script({"status": status, "message": told, "extra": extra, "times": 0}, lenient=True)
        for model in (CHAT, MESSAGES):
            for stream in (False, True):
                post(world, request(world, model, stream=stream), may=QUOTED)
        post(world, openai_request(world, CHAT), "/v1/chat/completions", QUOTED)
        post(world, request(world, MESSAGES), "/v1/messages/count_tokens", QUOTED)
    others = {
        "databricks:databricks-claude-sonnet-4": "DATABRICKS_TOKEN",
        "databricks:databricks-gpt-oss-120b": "DATABRICKS_TOKEN",
        "anthropic:claude-opus-4-6": "ANTHROPIC_API_KEY",
        "openai_compatible:qwen2.5:0.5b": "OPENAI_COMPATIBLE_API_KEY",
    }
    for model, key in others.items():
        for status in (400, 401, 500):
            quoted = quoting(world, key, "address")
            world.backends.script({"status": status, "message": quoted, "times": 0}, lenient=True)
            for stream in (False, True):
                post(world, request(world, model, stream=stream), may=QUOTED)
    for status in (400, 401, 500):
        world.openrouter.script({"status": status, "message": told, "times": 0}, lenient=True)
        post(world, request(world, f"litellm:{CHAT}"), may=QUOTED)


def broken_answers(world: World) -> None:
    """What breaks off or is garbage, before and in the midst of an answer."""
    told = quoting(world, "OPENROUTER_API_KEYS")
    page = f"<html><title>{told}</title>{told}</html>"
    rules = [reply(world, fault=fault, after=3, error={"message": told}) for fault in FAULTS]
    rules += [{"body": page, "times": 0}, {"body": page, "status": 502, "times": 0}]
    rules += [
        {"body": told, "content_type": "text/plain", "status": status, "times": 0} for status in (200, 500)
    ]
    rules += [{"raw": [f"data: {told}\n\n", f"data: {{{told}\n\n"], "times": 0}]
    rules += [{"raw": [json.dumps({"choices": told, "content": told, "type": told, told: 1})], "times": 0}]
    rules += [{"raw": [f"event: {told}\ndata: {json.dumps({'type': told})}\n\n"], "times": 0}]
    for rule in rules:
        world.openrouter.script(rule, lenient=True)
        for model in (CHAT, MESSAGES):
            for stream in (False, True):
                post(world, request(world, model, stream=stream), may=QUOTED | ANSWER)
        post(world, openai_request(world, CHAT, stream=True), "/v1/chat/completions", QUOTED | ANSWER)


FAULTS = (
    "reset_before_headers", "reset_after_headers", "reset", "half_json", "error_frame", "error_in_200",
    "truncate", "empty",
)  # fmt: skip


def leaving(world: World) -> None:
    """Clients that leave before and in the midst of the answer."""
    world.openrouter.script(reply(world, delay=0.05, text=world.sent["answer"] * 9), lenient=True)
    for model in (CHAT, MESSAGES):
        post(world, request(world, model, stream=True), leave_after=1500)
    world.openrouter.script(reply(world, first_delay=3), lenient=True)
    body = json.dumps(request(world, CHAT)).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {world.sent['HEADGATE_API_KEYS']}\r\n"
    world.keep(raw_answer(world, f"{head}content-length: {len(body)}\r\n\r\n".encode() + body))
    world.openrouter.script(reply(world), lenient=True)


# ---- mistakes of ours


def crashes(world: World) -> None:
    """Errors that nobody expected, whose texts quote prompt and keys: see `planted`."""
    kinds = ("value-error", "key-error", "unicode-error", "os-error", "group", "chain", "task", "thread",
             "callback", "log")  # fmt: skip
    for number, kind in enumerate(kinds):
        post(world, request(world, f"crash/{kind}", stream=bool(number % 2)))
    for kind in ("exit", "signal"):
        post(world, request(world, f"crash/{kind}"))
        world.wait(lambda: is_up(world), "the web process is started again")


def is_up(world: World) -> bool:
    try:
        return httpx.get(f"{world.gateway.url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
