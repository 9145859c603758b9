"""docs/07-parameters.md is what the code does, and no vendor's parameter is missing from it."""

from __future__ import annotations

import pytest

from scripts.parameter_table import PAGE, PLACES, SAMPLES, SDK_FIELDS, coverage, fate, has_fate, page
from wire.parameters import PARAMETERS

TARGETS = {"Anthropic": 1.0, "OpenAI": 0.95, "OpenRouter": 0.95}


def test_the_page_is_what_the_script_makes():
    assert PAGE.read_text() == page(), "run `make docs`"


@pytest.mark.parametrize("api", SDK_FIELDS)
def test_every_parameter_of_the_vendors_has_a_stated_fate(api):
    assert {name for name in SDK_FIELDS[api] if not has_fate(name)} == set()


@pytest.mark.parametrize("api", TARGETS)
def test_enough_of_them_are_sent_converted_or_refused(api):
    known, stated, handled = coverage()[api]
    assert stated == known
    assert handled >= TARGETS[api] * known


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_the_tables_call_refused_is_refused_and_else_left_out(name):
    fates = {fate(name, place) for place in PLACES}
    assert ("refused" if PARAMETERS[name].otherwise == "left out" else "left out") not in fates


def test_there_is_a_sample_of_every_parameter():
    assert PARAMETERS.keys() - SAMPLES.keys() == set()
