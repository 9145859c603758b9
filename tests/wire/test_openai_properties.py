"""What holds for every chat/completions request, and what survives the way there and back.

The normal form of a conversation is what `from_openai` makes of `to_chat`: one message a turn, results in
the order of their calls and before everything else, one plain text as a string, no more cache breakpoints
than go, documents without a title. What is in normal form comes back as it was.
"""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.wire.openai_answers import SHAPE, rendered
from tests.wire.requests import PDF, PNG, tool
from tests.wire.test_openai_answer import message
from tests.wire.test_openai_check import GOOD
from tests.wire.test_request_properties import JSON, LOOSE, conversations, places
from wire.breakpoints import BREAKPOINTS
from wire.chat_request import to_chat
from wire.check import check_request, encode_body, parse_body
from wire.errors import GatewayError
from wire.fold import Fold
from wire.openai_answer import fold_chunks, to_completion
from wire.openai_request import from_openai
from wire.signature import pack_details
from wire.told import told

MODEL = "openai/gpt-5"
WORD = st.text("abc \n", min_size=1, max_size=6).filter(str.strip)


def assert_safe(body: dict[str, Any]) -> None:
    """Assert that `body` is converted to a good request or refused with a path, and in no case changed."""
    body = parse_body(orjson.dumps(body))
    before = copy.deepcopy(body)
    try:
        check_request(from_openai(body))
        encode_body(from_openai(body, chat_only=[]))
    except GatewayError as refused:
        error = refused
    else:
        error = None
    assert error is None or (error.status == 400 and ": " in error.message)
    assert body == before


@settings(max_examples=300)
@given(st.data())
def test_a_good_request_with_one_thing_wrong_is_refused_or_passes(data: st.DataObject) -> None:
    body = copy.deepcopy(GOOD[data.draw(st.sampled_from(sorted(GOOD)))])
    container, key = data.draw(st.sampled_from(places(body)))
    if data.draw(st.booleans()):
        container[key] = data.draw(LOOSE)
    else:
        del container[key]
    assert_safe(body)


@given(st.dictionaries(st.text(max_size=12), JSON, max_size=6))
def test_arbitrary_objects_are_refused_or_pass(body: dict[str, Any]) -> None:
    assert_safe(body)


# There and back: what both formats can say.

TEXT = st.builds(lambda said: {"type": "text", "text": said}, WORD)
SHOWN = st.sampled_from(
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        },
        {"type": "text", "text": "kept", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
)


def thinking(text: str) -> dict[str, Any]:
    details = [{"type": "reasoning.text", "text": text, "format": "openai-responses-v1", "index": 0}]
    return {"type": "thinking", "thinking": text, "signature": pack_details(details, MODEL)}


def simplest(blocks: list[dict[str, Any]]) -> Any:
    plain = len(blocks) == 1 and blocks[0].keys() == {"type", "text"}
    return blocks[0]["text"] if plain else blocks


@st.composite
def normal_conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw conversations in normal form."""
    messages: list[dict[str, Any]] = []
    count = 0
    for _ in range(draw(st.integers(1, 4))):
        messages.append(
            {"role": "user", "content": simplest(draw(st.lists(TEXT | SHOWN, min_size=1, max_size=3)))}
        )
        if draw(st.booleans()):
            messages.append({"role": "system", "content": draw(WORD)})
        said = [thinking(draw(WORD))] if draw(st.booleans()) else []
        said += [draw(TEXT)] if draw(st.booleans()) else []
        calls = draw(st.integers(0, 2))
        ids = [f"call_{count + number}" for number in range(calls)]
        count += calls
        said += [{"type": "tool_use", "id": one, "name": "Read", "input": {"n": 1}} for one in ids]
        if not said:
            said = [draw(TEXT)]
        messages.append({"role": "assistant", "content": simplest(said)})
        if ids:
            results = [{"type": "tool_result", "tool_use_id": one, "content": draw(WORD)} for one in ids]
            messages.append({"role": "user", "content": results})
    return messages


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "system": WORD,
        "temperature": st.sampled_from([0, 0.5, 1]),
        "top_p": st.sampled_from([0.1, 1]),
        "top_k": st.integers(0, 9),
        "stop_sequences": st.lists(WORD, min_size=1, max_size=2),
        "stream": st.just(True),
        "metadata": st.just({"user_id": "u"}),
        "service_tier": st.sampled_from(["auto", "standard_only"]),
        "seed": st.integers(0, 9),
        "tool_choice": st.sampled_from(
            [
                {"type": "any"},
                {"type": "none"},
                {"type": "tool", "name": "Read"},
                {"type": "auto", "disable_parallel_tool_use": True},
            ]
        ),
        "thinking": st.sampled_from([{"type": "adaptive"}, {"type": "disabled"}]),
    },
)


def there_and_back(body: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy(body)
    chat, names = to_chat(body, model=MODEL)
    back = from_openai(chat)
    assert body == before
    for turn in back["messages"]:
        for block in turn["content"] if isinstance(turn["content"], list) else ():
            if block["type"] == "tool_use":
                block["name"] = names.original(block["name"])
    return back | {"model": body["model"]}


@settings(max_examples=300)
@given(normal_conversations(), FIELDS)
def test_what_is_in_normal_form_comes_back_as_it_was(
    messages: list[dict[str, Any]], fields: dict[str, Any]
) -> None:
    assume(orjson.dumps(messages).count(b"cache_control") <= BREAKPOINTS)
    effort = {"output_config": {"effort": "high"}} if fields.get("thinking") == {"type": "adaptive"} else {}
    tools = [tool("Read", {"type": "object", "properties": {"n": {"type": "number"}}}, description="Reads.")]
    body = {"model": "m", "max_tokens": 5, "messages": messages, "tools": tools, **fields, **effort}
    check_request(body)
    assert there_and_back(body) == body


@settings(max_examples=300)
@given(conversations())
def test_the_normal_form_is_one(messages: list[dict[str, Any]]) -> None:
    body = {"model": "m", "max_tokens": 5, "messages": messages}
    once = there_and_back(body)
    check_request(once)
    assert there_and_back(once) == once


# Answers.

BLOCKS = st.lists(
    TEXT
    | st.builds(lambda said: {"type": "thinking", "thinking": said, "signature": "sig"}, WORD)
    | st.just({"type": "redacted_thinking", "data": "xyz"})
    | st.builds(
        lambda name, given: {"type": "tool_use", "id": "", "name": name, "input": given},
        st.sampled_from(["read", "list"]),
        st.dictionaries(WORD, JSON, max_size=2),
    ),
    max_size=5,
)


@given(BLOCKS, st.sampled_from(["end_turn", "max_tokens", "tool_use"]))
def test_an_answer_is_the_same_told_folded_and_rendered(blocks: list[dict[str, Any]], stop: str) -> None:
    for place, block in enumerate(blocks):
        if block["type"] == "tool_use":
            block["id"] = f"toolu_{place}"
    answer = message(blocks, stop)
    before = copy.deepcopy(answer)
    fold = Fold()
    for event in told(answer):
        fold.add(event)
    assert fold.message() == answer == before
    assert to_completion(answer, SHAPE) == fold_chunks(rendered(told(answer)))
