"""The universal stream's requests and chunks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.answers import context
from wire.errors import InvalidRequest, Overloaded, UpstreamFailed
from wire.provider_names import guessed_provider, provider_named, split_name
from wire.universal import fallbacks_of, format_of, output_of, without_options
from wire.universal_bytes import UniversalBytes

USER = {"role": "user", "content": "Hello"}
FUNCTION = {"type": "function", "function": {"name": "look"}}


def parts(*kinds):
    return {"messages": [{"role": "user", "content": [{"type": kind} for kind in kinds]}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"format": "openai", "system": "s", "max_tokens": 1}, "openai"),
        ({"format": "anthropic", "messages": [{"role": "tool"}]}, "anthropic"),
        ({"messages": [USER], "max_tokens": 5}, "anthropic"),
        ({"messages": [USER]}, "openai"),
        ({"messages": [USER], "max_tokens": 5, "system": "s"}, "anthropic"),
        ({"messages": [USER], "stop_sequences": ["x"]}, "anthropic"),
        ({"messages": [USER], "max_tokens": 5, "stop": ["x"]}, "openai"),
        ({"messages": [USER], "max_completion_tokens": 5}, "openai"),
        ({"messages": [USER], "seed": 5, "thinking": {}, "max_tokens": 5}, "anthropic"),  # fields of both
        ({"messages": [{"role": "system"}, USER], "max_tokens": 5}, "openai"),
        ({"messages": [USER, {"role": "system"}], "max_tokens": 5}, "anthropic"),  # Anthropic has those too
        ({"messages": [USER, {"role": "developer"}]}, "openai"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [1]}]}, "openai"),
        ({"messages": [USER], "tools": [FUNCTION]}, "openai"),
        ({"messages": [USER], "tools": [{"name": "look", "input_schema": {}}]}, "anthropic"),
        ({**parts("text", "image"), "stop": []}, "anthropic"),
        ({**parts("image_url"), "system": "s"}, "openai"),
        (parts("text"), "openai"),
        ({"messages": "odd", "tools": {}, "max_tokens": 5}, "anthropic"),
    ],
)
def test_formats(body, expected):
    assert format_of(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"format": "gemini"},
        {"format": 5},
        parts("image", "image_url"),
        {**parts("image"), "tools": [FUNCTION]},
    ],
)
def test_a_format_that_cannot_be_told_is_refused(body):
    with pytest.raises(InvalidRequest, match=r"^format: "):
        format_of(body)


@given(
    st.dictionaries(
        st.sampled_from(["system", "stop", "messages", "tools", "max_tokens"]), st.none() | st.integers()
    )
)
def test_any_body_has_a_format(body):
    assert format_of(body) in {"anthropic", "openai"}


@pytest.mark.parametrize(
    ("body", "query", "expected"),
    [
        ({}, None, "universal"),
        ({"output": "openai"}, None, "openai"),
        ({"output": "openai"}, "anthropic", "anthropic"),
        ({"output": "universal"}, None, "universal"),
    ],
)
def test_outputs(body, query, expected):
    assert output_of(body, query) == expected


def test_an_unknown_output_is_refused():
    with pytest.raises(InvalidRequest, match=r"^output: "):
        output_of({"output": 5}, None)


def test_options_are_taken_out_but_not_what_other_apis_mean():
    own = {"model": "m", "messages": [USER]}
    options = {"format": "openai", "output": "openai", "provider": "azure", "fallbacks": ["a", "b"]}
    assert without_options({**own, **options}) == {**own, "stream": True}
    theirs = {"provider": {"order": ["azure"]}, "fallbacks": [{"model": "m"}]}
    assert without_options({**own, **theirs}) == {**own, **theirs, "stream": True}
    assert fallbacks_of(options) == ("a", "b")
    assert fallbacks_of(theirs) is None
    assert fallbacks_of({"fallbacks": "a"}) is None


# ---- whose model it is ----


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("claude-next-9", "anthropic"),
        ("gpt-9-mini", "openai"),
        ("o9", "openai"),
        ("o3-pro-2030", "openai"),
        ("ft:gpt-4o:acme", "openai"),
        ("gemini-9-flash", "google"),
        ("command-z", "cohere"),
        ("Mistral-Huge-9", "mistral"),
        ("open-mixtral-9x9b", "mistral"),
        ("eu.anthropic.claude-next-v1:0", "bedrock"),
        ("amazon.nova-next-v1:0", "bedrock"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/x", "bedrock"),
        ("my-own-model", None),
        ("o-ring", None),
    ],
)
def test_rules_for_names_that_no_table_knows(name, provider):
    assert guessed_provider(name) == provider


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("Anthropic", "anthropic"),
        ("gemini", "google"),
        (" aws ", "bedrock"),
        ("cohere_chat", "cohere"),
        ("xai", None),
    ],
)
def test_provider_names(name, provider):
    assert provider_named(name) == provider


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("azure/my-deployment", ("azure", "my-deployment")),
        ("gemini/gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("x-ai/grok", (None, "x-ai/grok")),
        ("azure/", (None, "azure/")),
        ("gpt-5", (None, "gpt-5")),
    ],
)
def test_names_may_begin_with_their_provider(name, split):
    assert split_name(name) == split


# ---- chunks ----


def sse(*chunks):
    return b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in chunks) + b"data: [DONE]\n\n"


def choice(finish=None, **delta):
    return {"choices": [{"index": 0, "delta": delta, **({"finish_reason": finish} if finish else {})}]}


def told(*chunks):
    translator = UniversalBytes(context(), "openai")
    out = translator.feed(sse(*chunks)) + translator.finish()
    return [json.loads(line[6:]) for line in out.decode().splitlines() if line]


def kinds(chunks):
    return [(chunk["index"], chunk["kind"], chunk["delta"]) for chunk in chunks]


def test_every_kind_of_chunk():
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}
    rest = {"index": 0, "function": {"arguments": '{"a":1}'}}
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "cost": 0.5}
    chunks = told(
        choice(
            reasoning="Hm.", reasoning_details=[{"type": "reasoning.text", "text": "Hm.", "signature": "s"}]
        ),
        choice(content="Hel"),
        choice(content="lo"),
        choice(tool_calls=[call]),
        choice(tool_calls=[rest]),
        choice("tool_calls"),
        {"choices": [], "usage": usage},
    )
    signature = chunks[1]["delta"].pop("signature")
    assert signature.startswith("hgA1")
    usage_told = chunks[-2]["delta"]
    assert (usage_told["input_tokens"], usage_told["output_tokens"], usage_told["cost_usd"]) == (5, 7, 0.5)
    assert kinds(chunks[:-2]) == [
        (0, "reasoning", {"text": "Hm."}),
        (0, "reasoning", {}),
        (1, "text", {"text": "Hel"}),
        (1, "text", {"text": "lo"}),
        (2, "tool_call", {"id": "c1", "name": "look"}),
        (2, "tool_call", {"arguments": '{"a":1}'}),
    ]
    assert kinds(chunks)[-1] == (2, "end", {"stop_reason": "tool_use", "stop_sequence": None})
    assert {(chunk["v"], chunk["provider"], chunk["model"]) for chunk in chunks} == {
        (1, "openai", context().upstream_model)
    }


def test_encrypted_reasoning_and_citations():
    encrypted = [{"type": "reasoning.encrypted", "data": "d"}]
    note = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
    chunks = told(
        choice(reasoning_details=encrypted), choice(content="Hi"), choice(annotations=[note]), choice("stop")
    )
    assert "data" in chunks[0]["delta"]
    assert [chunk["kind"] for chunk in chunks] == ["reasoning", "text", "text", "end"]
    assert chunks[2]["delta"]["citation"]["url"] == "https://a.example"


def test_raw_is_told_when_it_is_new():
    chunks = told(
        {"id": "1", "system_fingerprint": "fp", "choices": []},
        {"id": "1", "system_fingerprint": "fp", **choice(content="a", extra=1)},
        {"id": "1", "system_fingerprint": "fp", **choice(content="b", extra=1, none=None)},
        {
            "id": "1",
            "system_fingerprint": "fp2",
            "choices": [{"delta": None, "logprobs": {}, "finish_reason": "stop"}],
        },
    )
    assert [chunk["raw"] for chunk in chunks] == [
        {"id": "1", "system_fingerprint": "fp", "extra": 1},
        {},
        {"system_fingerprint": "fp2", "logprobs": {}, "finish_reason": "stop"},
    ]


def test_odd_choices_are_passed_over():
    assert [chunk["kind"] for chunk in told({"choices": ["odd"]}, choice(content="a"), choice("stop"))] == [
        "text",
        "end",
    ]


def test_an_error_is_a_chunk():
    translator = UniversalBytes(context(), "openai")
    translator.feed(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n')
    with pytest.raises(UpstreamFailed):
        translator.finish()
    chunk = json.loads(translator.fail(Overloaded("busy"), "req_1")[6:])
    assert chunk["kind"] == "error"
    assert chunk["delta"] == {"type": "overloaded_error", "message": "busy", "request_id": "req_1"}
    assert translator.failed


def test_a_web_search_is_told_as_a_call():
    note = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
    translator = UniversalBytes(context(web_search=True), "openai")
    out = translator.feed(sse(choice(content="Hi"), choice(annotations=[note]), choice("stop")))
    chunks = [json.loads(line[6:]) for line in out.decode().splitlines() if line]
    assert "web_search" in [chunk["delta"].get("name") for chunk in chunks]
