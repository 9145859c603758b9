"""The openai SDK through a real gateway to the fake OpenRouter, on both wires."""

from __future__ import annotations

import json

import httpx
import openai
import pytest
import pytest_asyncio

from tests.routers.conftest import gateway_on

ASK = {"model": "claude-opus-4-6", "messages": [{"role": "user", "content": "Hello"}]}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
REPLIES = {
    "text": {"text": "Hello to you, and to all the others."},
    "reasoning": {"reasoning": "The user greets me.", "text": "Hello."},
    "tools": {
        "text": "Two at once.",
        "tools": [
            {"name": "get_weather", "input": {"city": "Bern"}, "id": "toolu_1"},
            {"name": "get_weather", "input": {"city": "Rome"}, "id": "toolu_2"},
        ],
    },
    "max_tokens": {"text": "cut off", "stop": "max_tokens"},
}


@pytest.fixture
def chat(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="client-key", max_retries=0) as client:
        yield client


@pytest_asyncio.fixture
async def async_chat(gateway):
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1/v1", api_key="client-key", max_retries=0
    ) as client:
        yield client


def essence(completion):
    """Give what a stream and a whole answer have in common."""
    (choice,) = completion.choices
    calls = [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in choice.message.tool_calls or ()
    ]
    return (
        completion.model,
        choice.finish_reason,
        choice.message.content or "",
        calls,
        completion.usage.total_tokens,
    )


def test_a_large_request_arrives_whole(chat, openrouter):
    openrouter.script({"text": "Read.", "times": 2})
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "word " * 20_000}]
    for _ in range(2):  # the second time its messages and tools are known
        chat.chat.completions.create(model="openai/gpt-5", messages=turns, tools=[TOOL])
    sent = [json.dumps(seen["body"]) for seen in openrouter.requests("chat", "messages")]
    assert [(body.count("word "), body.count("Be brief."), body.count("The weather")) for body in sent] == [
        (20_000, 1, 1)
    ] * 2


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_and_a_whole_answer_are_equal(chat, openrouter, name):
    openrouter.script(REPLIES[name] | {"times": 2, "usage": {"input": 77, "output": 5}})
    ask = ASK | {"tools": [TOOL]}
    whole = chat.chat.completions.create(**ask)
    with chat.chat.completions.stream(**ask, stream_options={"include_usage": True}) as stream:
        try:
            for _ in stream:
                pass
            streamed = stream.get_final_completion()
        except openai.LengthFinishReasonError as error:
            streamed = error.completion
    assert essence(streamed) == essence(whole)
    assert whole.model == "claude-opus-4-6"
    assert whole.usage.prompt_tokens == 77
    if name == "reasoning":
        assert (
            whole.choices[0].message.reasoning
            == streamed.choices[0].message.reasoning
            == "The user greets me."
        )


@pytest.mark.parametrize("stream", [False, True])
async def test_the_async_client(async_chat, openrouter, stream):
    openrouter.script({"text": "Hello to you."})
    if stream:
        chunks = [chunk async for chunk in await async_chat.chat.completions.create(**ASK, stream=True)]
        assert all(chunk.choices for chunk in chunks)  # no chunk of usage: it was not asked for
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        text = (await async_chat.chat.completions.create(**ASK)).choices[0].message.content
    assert text == "Hello to you."


def test_a_conversation_with_tools(chat, openrouter, wire):
    openrouter.script(REPLIES["tools"] | {"reasoning": "Hm."}, {"text": "Rain."})
    messages = [{"role": "developer", "content": "Be brief."}, *ASK["messages"]]
    said = (
        chat.chat.completions.create(model="claude-opus-4-6", messages=messages, tools=[TOOL])
        .choices[0]
        .message
    )
    messages.append(said.to_dict())
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in said.tool_calls]
    last = chat.chat.completions.create(model="claude-opus-4-6", messages=messages, tools=[TOOL])
    assert last.choices[0].message.content == "Rain."
    body = openrouter.requests(wire)[-1]["body"]
    if wire == "chat":
        assert body["messages"] == messages
    else:
        assert body["system"] == "Be brief."
        kinds = [block["type"] for block in body["messages"][1]["content"]]
        assert kinds == ["thinking", "text", "tool_use", "tool_use"]
        assert body["messages"][1]["content"][0]["signature"].startswith("sig-")
        assert [block["tool_use_id"] for block in body["messages"][2]["content"]] == ["toolu_1", "toolu_2"]


def test_the_chat_wire_is_nearly_verbatim(chat_process, openrouter):
    body = ASK | {"n": 2, "logprobs": True, "unknown_field": {"kept": [1, None]}, "temperature": 1.5}
    httpx.post(f"{chat_process.url}/v1/chat/completions", json=body).raise_for_status()
    (seen,) = openrouter.requests("chat")
    assert seen["body"] == body | {"model": "anthropic/claude-opus-4.6", "usage": {"include": True}}


def test_what_only_a_chat_backend_can_do_is_refused_on_the_messages_wire(messages_process, openrouter):
    answer = httpx.post(f"{messages_process.url}/v1/chat/completions", json=ASK | {"n": 2})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "message": "n: a Message is one answer; ask again for another",
            "type": "invalid_request_error",
            "param": "n",
            "code": None,
        }
    }
    assert openrouter.requests() == []


def test_a_large_request_is_answered_as_a_small_one_is(chat, openrouter):
    openrouter.script({"text": "Fine."})
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi " * 5000}]
    answer = chat.chat.completions.create(model="big", messages=messages, tools=[tool])
    assert answer.choices[0].message.content == "Fine."


def test_bad_input_is_told_with_its_path(chat, openrouter):
    with pytest.raises(openai.BadRequestError) as raised:
        chat.chat.completions.create(model="m/m", messages=[{"role": "user", "content": [{"type": "text"}]}])
    assert raised.value.param == "messages.0.content.0.text"
    assert raised.value.type == "invalid_request_error"
    assert raised.value.request_id.startswith("req_")
    assert raised.value.response.headers["request-id"] == raised.value.request_id


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"thinking": {"type": 5}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": {}}}, "thinking.budget_tokens"),
        ({"output_config": "high"}, "output_config"),
        ({"output_format": {"type": []}}, "output_format.type"),
        ({"stop_sequences": 5}, "stop_sequences"),
        ({"system": 5}, "system"),
    ],
)
def test_anthropics_own_fields_are_checked_beside_openais(gateway, openrouter, fields, param):
    body = {"model": "big", "messages": [{"role": "user", "content": "Hi"}], **fields}
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert openrouter.requests() == []


@pytest.mark.parametrize("body", ["", "[1]", "{half"])
def test_broken_bodies(gateway, openrouter, body):
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "body"


def test_another_method_is_refused_in_openais_form(gateway):
    answer = httpx.get(f"{gateway.url}/v1/chat/completions")
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] is None


@pytest.mark.parametrize(
    ("upstream", "kind", "status"),
    [
        (400, openai.BadRequestError, 400),
        (401, openai.PermissionDeniedError, 403),
        (404, openai.NotFoundError, 404),
        (429, openai.RateLimitError, 429),
        (503, openai.InternalServerError, 503),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors(chat, openrouter, upstream, kind, status, stream):
    openrouter.script({"status": upstream, "message": "as told", "times": 0})
    with pytest.raises(kind) as raised:
        chat.chat.completions.create(**ASK, stream=stream)
    assert raised.value.status_code == status
    assert "as told" in raised.value.message
    assert set(raised.value.body) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("fault", ["error_frame", "truncate", "reset"])
def test_an_error_in_mid_stream_is_raised_by_the_sdk(chat, openrouter, fault):
    openrouter.script(
        {"text": "a" * 200, "fault": fault, "after": 6, "error": {"code": 502, "message": "gone"}}
    )
    stream = chat.chat.completions.create(**ASK, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)


def test_an_error_inside_a_200(chat, openrouter):
    openrouter.script({"fault": "error_in_200", "error": {"code": 429, "message": "slow down"}, "times": 0})
    with pytest.raises(openai.RateLimitError, match="slow down"):
        chat.chat.completions.create(**ASK)


def test_silence_is_filled_with_comments(gateway, openrouter):
    openrouter.script({"text": "Hello to you, and to all.", "delay": 0.9})
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=ASK | {"stream": True})
    assert b": ping\n\n" in answer.content
    assert b"event:" not in answer.content
    assert answer.content.endswith(b"data: [DONE]\n\n")


def test_models_are_listed_for_both(gateway, chat, client):
    listed = chat.models.list()
    assert {model.id for model in listed} >= {"big", "anthropic/claude-sonnet-4"}
    for model in listed:
        assert (model.object, type(model.created), type(model.owned_by)) == ("model", int, str)
    assert chat.models.retrieve("anthropic/claude-sonnet-4").owned_by == "anthropic"
    assert {model.id for model in client.models.list()} == {model.id for model in listed}


# ---- every backend ----


@pytest.fixture(scope="module")
def all_of_them(openrouter_process, backends_process):
    settings = backends_process.databricks | backends_process.anthropic | backends_process.compatible
    names = {"DATABRICKS_MODELS": '{"gpt": "databricks-gpt-oss-120b", "my-claude": "team-claude"}'}
    with gateway_on(openrouter_process, **names, **settings) as gateway:
        yield gateway


@pytest.mark.parametrize(
    "model",
    [
        "databricks:claude-sonnet-4",
        "databricks:gpt",
        "databricks:my-claude",
        "anthropic:claude-opus-4-6",
        "openai_compatible:llama3:8b",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_backend_answers(all_of_them, backends, model, stream):
    backends.script({"reasoning": "Hm.", **REPLIES["tools"]})
    with openai.OpenAI(base_url=f"{all_of_them.url}/v1", api_key="x", max_retries=0) as client:
        ask = {"model": model, "messages": ASK["messages"], "tools": [TOOL]}
        if stream:
            with client.chat.completions.stream(**ask) as events:
                completion = events.get_final_completion()
        else:
            completion = client.chat.completions.create(**ask)
    (choice,) = completion.choices
    assert choice.message.content == "Two at once."
    assert [json.loads(call.function.arguments) for call in choice.message.tool_calls] == [
        {"city": "Bern"},
        {"city": "Rome"},
    ]
    assert choice.finish_reason == "tool_calls"
    assert completion.model == model
    (seen,) = backends.requests()
    assert seen["complaint"] == ""


def test_how_much_to_think_is_said_in_anthropics_words(all_of_them, backends):
    body = ASK | {"model": "anthropic:claude-opus-4-6", "reasoning_effort": "high"}
    httpx.post(f"{all_of_them.url}/v1/chat/completions", json=body).raise_for_status()
    (seen,) = backends.requests()
    assert seen["body"]["output_config"] == {"effort": "high"}
    assert "reasoning_effort" not in seen["body"]
