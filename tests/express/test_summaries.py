from __future__ import annotations

from typing import Any

import pytest

from express import Summarised, summary_of
from express.summaries import ERROR_LENGTH, error_text
from wire.errors import InvalidRequest


class Exchange:
    def __prefect_summary__(self) -> dict[str, Any]:
        return {"bytes": 12}


def test_a_value_shows_its_own_summary_or_its_type() -> None:
    assert summary_of(Exchange()) == {"bytes": 12}
    assert isinstance(Exchange(), Summarised)
    assert summary_of("a prompt") == "str"
    assert summary_of(Exchange) == "type"


def test_an_error_with_a_message_for_people_is_quoted() -> None:
    assert error_text(InvalidRequest("messages.0: no")) == "InvalidRequest: messages.0: no"
    assert len(error_text(InvalidRequest("x" * 9999))) == ERROR_LENGTH


def test_any_other_error_says_its_type_and_place_but_never_its_text() -> None:
    with pytest.raises(KeyError) as caught:
        {}["a prompt"]
    text = error_text(caught.value)
    assert text.startswith("KeyError in test_any_other_error_says_its_type_and_place_but_never_its_text, ")
    assert "test_summaries.py:" in text
    assert "prompt" not in text
    assert error_text(ValueError("a prompt")) == "ValueError"


def test_the_place_is_where_it_was_raised_not_where_it_was_caught() -> None:
    def inner() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        inner()
    assert ".inner, test_summaries.py:" in error_text(caught.value)
