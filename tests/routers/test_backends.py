"""Every backend, by a real gateway that has them all: wires, names, prefixes, routes, lists and counts."""

from __future__ import annotations

import json

import anthropic
import httpx
import pytest

from tests.routers.conftest import gateway_on

ASK = {"max_tokens": 1024, "messages": [{"role": "user", "content": "Hello"}]}
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
FORMAT = {
    "type": "json_schema",
    "schema": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
}


@pytest.fixture(scope="module")
def all_of_them(openrouter_process, backends_process):
    settings = backends_process.databricks | backends_process.anthropic | backends_process.compatible
    with gateway_on(
        openrouter_process,
        whole=True,  # one of its tests counts tokens
        HEADGATE_ROUTES=json.dumps(
            {"routed-*": "databricks:claude-sonnet-4", "local": "openai_compatible:qwen2.5:0.5b"}
        ),
        HEADGATE_MODELS='{"mine": "anthropic:claude-opus-4-6"}',
        DATABRICKS_MODELS='{"gpt": "databricks-gpt-oss-120b", "my-claude": "team-claude"}',
        **settings,
    ) as gateway:
        yield gateway


def post(gateway, model, path="/v1/messages", **fields):
    return httpx.post(f"{gateway.url}{path}", json={"model": model, **ASK, **fields})


@pytest.mark.parametrize(
    ("asked", "backend", "path", "model"),
    [
        ("claude-opus-4-6", "openrouter", "messages", "anthropic/claude-opus-4.6"),
        ("openrouter:openai/gpt-5", "openrouter", "chat", "openai/gpt-5"),
        ("openai/gpt-5:nitro", "openrouter", "chat", "openai/gpt-5:nitro"),
        ("databricks:claude-sonnet-4", "databricks", "databricks messages", "databricks-claude-sonnet-4"),
        ("databricks:big", "databricks", "databricks messages", "databricks-claude-sonnet-4"),
        ("databricks:claude-3-7-sonnet-20250219", "databricks", "databricks messages",
         "databricks-claude-3-7-sonnet"),
        ("databricks:gpt", "databricks", "databricks chat", None),
        ("databricks:my-claude", "databricks", "databricks chat", None),
        ("routed-anything", "databricks", "databricks messages", "databricks-claude-sonnet-4"),
        ("routed-anything[1m]", "databricks", "databricks messages", "databricks-claude-sonnet-4"),
        ("anthropic:claude-opus-4-6", "anthropic", "anthropic messages", "claude-opus-4-6"),
        ("anthropic:big", "anthropic", "anthropic messages", "claude-sonnet-4-0"),
        ("mine", "anthropic", "anthropic messages", "claude-opus-4-6"),
        ("openai_compatible:llama3:8b", "openai_compatible", "compatible chat", "llama3:8b"),
        ("local", "openai_compatible", "compatible chat", "qwen2.5:0.5b"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_a_name_finds_its_backend(all_of_them, openrouter, backends, asked, backend, path, model, stream):
    with anthropic.Anthropic(base_url=all_of_them.url, api_key="x", max_retries=0) as client:
        if stream:
            with client.messages.stream(model=asked, **ASK) as events:
                message = events.get_final_message()
                answered_by = events.response.headers["x-headgate-backend"]
        else:
            raw = client.messages.with_raw_response.create(model=asked, **ASK)
            message, answered_by = raw.parse(), raw.headers["x-headgate-backend"]
    assert message.content[0].text == "Fine."
    assert message.model == asked
    assert answered_by == backend
    (seen,) = openrouter.requests() if backend == "openrouter" else backends.requests()
    assert (seen["path"], seen["body"].get("model")) == (path, model)
    assert seen["complaint"] == ""


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("litel:gpt-5", "prefixes are openrouter:, litellm:, databricks:"),
        ("no-such-model", "aliases are big"),
        ("databricks:vendor/model", "DATABRICKS_MODELS"),
        ("anthropic:gpt-5", "Anthropic has Claude models"),
    ],
)
def test_an_unknown_name_says_what_is_known(all_of_them, asked, told):
    answer = post(all_of_them, asked)
    assert answer.status_code == 404
    assert told in answer.json()["error"]["message"]


def test_a_prefix_without_its_settings_is_not_found(chat_process):
    answer = post(chat_process, "databricks:claude-sonnet-4")
    assert answer.status_code == 404
    assert "no key or address" in answer.json()["error"]["message"]


def test_the_list_has_the_models_of_all(all_of_them, openrouter, backends):
    listed = httpx.get(f"{all_of_them.url}/v1/models?limit=1000").json()["data"]
    models = {model["id"]: model for model in listed}
    assert {
        "big", "anthropic/claude-sonnet-4", "databricks:databricks-claude-sonnet-4",
        "databricks:databricks-gpt-oss-120b", "anthropic:claude-opus-4-6", "openai_compatible:qwen2.5:0.5b",
    } <= models.keys()  # fmt: skip
    assert "databricks:databricks-gte-large-en" not in models
    assert models["anthropic:claude-opus-4-6"]["display_name"] == "Claude Opus 4.6"
    assert models["anthropic:claude-opus-4-6"]["created_at"] == "2026-01-02T00:00:00Z"
    assert models["databricks:databricks-claude-sonnet-4"]["created_at"].startswith("2025-05-22")
    for name in ("databricks:claude-sonnet-4", "mine", "openai_compatible:qwen2.5:0.5b"):
        assert httpx.get(f"{all_of_them.url}/v1/models/{name}").json()["id"] == name


def test_a_list_that_fails_breaks_no_page(openrouter, backends):
    backends.script({"when": {"path": "databricks models"}, "status": 500, "times": 0})
    with gateway_on(openrouter, **backends.databricks) as gateway:
        models = [one["id"] for one in httpx.get(f"{gateway.url}/v1/models?limit=1000").json()["data"]]
    assert "openai/gpt-5" in models
    assert not [name for name in models if name.startswith("databricks")]


def test_anthropic_counts_itself(all_of_them, backends):
    path = "/v1/messages/count_tokens"
    ours = post(all_of_them, "databricks:claude-sonnet-4", path).json()["input_tokens"]
    answer = post(all_of_them, "anthropic:claude-opus-4-6", path)
    assert (answer.json(), answer.headers["x-headgate-backend"]) == ({"input_tokens": 77}, "anthropic")
    assert ours != 77
    backends.script({"when": {"path": "anthropic count_tokens"}, "status": 529})
    assert post(all_of_them, "anthropic:claude-opus-4-6", path).json()["input_tokens"] == ours
    backends.script({"when": {"path": "anthropic count_tokens"}, "status": 400})
    assert post(all_of_them, "anthropic:claude-opus-4-6", path).status_code == 400


def test_a_refused_key_is_named(openrouter, backends):
    with gateway_on(openrouter, **backends.databricks | {"DATABRICKS_TOKEN": "wrong"}) as gateway:
        answer = post(gateway, "databricks:gpt-oss")
    assert answer.status_code == 403
    assert "DATABRICKS_TOKEN was refused" in answer.json()["error"]["message"]


# ---- Databricks' chat endpoints ----


def calls_and_results():
    return [
        {"role": "user", "content": [{"type": "text", "text": "Go", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": ""},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
                {"type": "tool_use", "id": "t2", "name": "look", "input": {"n": 2}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t2", "content": "two"},
                {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                {"type": "text", "text": "And now?"},
            ],
        },
        {"role": "system", "content": "Be brief."},
    ]


def test_databricks_gets_each_result_directly_after_its_call(all_of_them, backends):
    answer = post(
        all_of_them, "databricks:gpt", messages=calls_and_results(), tools=[TOOL], system="You help.",
        thinking={"type": "enabled", "budget_tokens": 2000}, metadata={"user_id": "u"}, top_k=3,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    (seen,) = backends.requests()
    told = [
        (one["role"], [call["id"] for call in one.get("tool_calls", [])] or one.get("tool_call_id"))
        for one in seen["body"]["messages"]
    ]
    assert told == [
        ("system", None), ("user", None), ("assistant", ["t1"]), ("tool", "t1"), ("assistant", ["t2"]),
        ("tool", "t2"), ("user", None),
    ]  # fmt: skip
    assert seen["body"]["messages"][-1]["content"] == "And now?\n\n<system>\nBe brief.\n</system>"
    assert seen["body"]["reasoning_effort"] == "low"


def test_databricks_claude_thinks_over_two_turns(all_of_them, backends):
    """Reasoning comes as parts of an array, and goes back as such with its signature."""
    thinking = {"type": "enabled", "budget_tokens": 2000}
    backends.script({"reasoning": "Let me look.", "tools": [{"name": "look", "input": {"at": 1}}]})
    first = post(all_of_them, "databricks:my-claude", tools=[TOOL], thinking=thinking, max_tokens=4000).json()
    assert [block["type"] for block in first["content"]] == ["thinking", "tool_use"]
    messages = [
        *ASK["messages"],
        {"role": "assistant", "content": first["content"]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": first["content"][1]["id"], "content": "seen"}],
        },
    ]
    answer = post(
        all_of_them, "databricks:my-claude", messages=messages, tools=[TOOL], thinking=thinking,
        max_tokens=1500, output_config={"effort": "high", "format": FORMAT},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    body = backends.requests()[-1]["body"]
    (part,) = body["messages"][1]["content"]
    assert part["summary"][0]["text"] == "Let me look."
    assert part["summary"][0]["signature"].startswith("sig-")
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1499}
    assert body["output_config"] == {"effort": "high", "format": FORMAT}


@pytest.mark.parametrize("stream", [False, True])
def test_databricks_parts_become_blocks(all_of_them, backends, stream):
    backends.script({"reasoning": "Hm, let me see.", "text": "It is 4."})
    with anthropic.Anthropic(base_url=all_of_them.url, api_key="x", max_retries=0) as client:
        if stream:
            with client.messages.stream(model="databricks:my-claude", **ASK) as events:
                message = events.get_final_message()
        else:
            message = client.messages.create(model="databricks:my-claude", **ASK)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == "Hm, let me see."
    assert message.content[1].text == "It is 4."


PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0"),
        ({"messages": [{"role": "user", "content": [PDF]}]}, "messages.0.content.0.source"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
    ],
)
@pytest.mark.parametrize("model", ["databricks:gpt", "openai_compatible:llama3:8b"])
def test_what_a_backend_lacks_is_refused_with_its_path(all_of_them, backends, model, fields, path):
    answer = post(all_of_them, model, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(f"{path}: ")
    assert backends.requests() == []


def test_openrouters_wishes_stay_away_from_others(all_of_them, backends):
    wishes = {"provider": {"sort": "price"}, "models": ["a/b"], "seed": 7, "min_p": 0.1, "session_id": "s"}
    assert post(all_of_them, "local", **wishes).status_code == 200
    assert post(all_of_them, "databricks:gpt", **wishes).status_code == 200
    local, databricks = (seen["body"] for seen in backends.requests())
    assert local.keys() == {"model", "messages", "max_tokens", "seed", "min_p"}
    assert databricks.keys() == {"messages", "max_tokens"}
