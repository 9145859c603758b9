"""Every backend's way to say that the prompt is too long."""

from __future__ import annotations

import pytest

from wire.overflow import overflow_message

COUNTED = [
    ("prompt is too long: 210000 tokens > 200000 maximum", 210000, 200000),
    (
        (
            "This endpoint's maximum context length is 131072 tokens. However, you requested about 150000"
            " tokens (146000 of text input, 4000 in the output). Please reduce the length of either one"
        ),
        150000,
        131072,
    ),
    (
        (
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 130001"
            " tokens. Please reduce the length of the messages."
        ),
        130001,
        128000,
    ),
    (
        (
            "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4500 in"
            " the messages, 500 in the completion)."
        ),
        5000,
        4096,
    ),
    (
        "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens.",
        5000,
        4096,
    ),
    ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 5000, 4096),
    ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 5000, 4096),
    ("Input length (5000) exceeds model's maximum context length (4096).", 5000, 4096),
    (
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        1200000,
        1048576,
    ),
    (
        (
            "Unable to submit request because the input token count is 33000 but the model only supports up"
            " to 32000."
        ),
        33000,
        32000,
    ),
    (
        "the request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it",
        9000,
        8192,
    ),
    (
        (
            "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context"
            " length"
        ),
        40000,
        32768,
    ),
    (
        "This model's maximum prompt length is 131072 but the request contains 150000 tokens.",
        150000,
        131072,
    ),
    (
        "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.",
        5000,
        4081,
    ),
    ("The prompt is too long: 140000, model maximum context length: 131071", 140000, 131071),
    (
        "Invalid request: Your request exceeded model token limit: 131072 (requested: 140000)",
        140000,
        131072,
    ),
    ("Current length is 9000 while limit is 8192", 9000, 8192),
    ("prompt token count of 9000 exceeds the limit of 8000", 9000, 8000),
    (
        (
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 8500 `inputs`"
            " tokens and 512 `max_new_tokens`"
        ),
        8500,
        8193,
    ),
    ("prompt is too long: 1,200,000 tokens > 1_000_000 maximum", 1200000, 1000000),
]

UNCOUNTED = [
    "Input is too long for requested model.",
    "context_length_exceeded",
    "Please reduce the length of the messages or completion.",
    "Range of input length should be [1, 129024]",
    "the request exceeds the available context size. try increasing the context size",
    "The input token count exceeds the maximum number of tokens allowed 1048576.",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "prompt too long; exceeded max context length by 4 tokens",
]

OTHERS = [
    (
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length"
        " or `max_tokens` and try again"
    ),
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 4000. This model's maximum context length is"
        " 4096 tokens and your request has 500 input tokens (4000 > 4096 - 500)."
    ),
    "max_tokens is too large: 9999999. This model supports at most 16384 completion tokens",
    "messages.0: image is too large",
    "",
]


@pytest.mark.parametrize(("text", "got", "limit"), COUNTED)
def test_both_numbers_are_told(text: str, got: int, limit: int) -> None:
    assert overflow_message(text) == f"prompt is too long: {got} tokens > {limit} maximum"


@pytest.mark.parametrize("text", UNCOUNTED)
def test_without_numbers_the_backends_words_follow(text: str) -> None:
    assert overflow_message(text) == f"prompt is too long: {text}"


def test_a_message_that_begins_right_begins_once() -> None:
    assert overflow_message("Prompt is too long") == "prompt is too long"


@pytest.mark.parametrize("text", OTHERS)
def test_other_errors_are_none_of_it(text: str) -> None:
    assert overflow_message(text) is None
