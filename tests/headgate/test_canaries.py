"""Keys get nowhere, and prompts only where they are kept by design: looked for in every byte and answer.

One real server, its Prefect server included, in which every key and every text is a canary, takes every path
there is. What may hold what is said once, in `World.may_hold` and beside each path.
"""

from __future__ import annotations

import sqlite3
from collections import Counter

import pytest

from tests.headgate.canary_search import Canaries, packings, search_file, told
from tests.headgate.canary_tours import PATHS
from tests.headgate.canary_world import new_world

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def world():
    """The server, after it has been every way."""
    with new_world() as world:
        for path in PATHS:
            world.path = path.__name__
            path(world)
        world.path = ""
        yield world


def test_the_paths_were_taken(world):
    without_answers = {"prefect_comes_up", "raw_bytes", "commands", "wrong_settings", "prefect_records"}
    assert {path.__name__ for path in PATHS} - without_answers <= set(world.statuses)
    counts = {name: Counter(statuses) for name, statuses in world.statuses.items()}
    for name in ("answers", "universal", "cache", "made_keys"):
        assert counts[name][200] > 0, counts
    assert counts["crashes"][500] >= 6, counts
    print(counts)


def test_no_command_line_has_a_canary(world):
    assert told(world.in_processes()) == ""


def test_no_answer_has_a_key_or_anothers_content(world):
    assert told(world.in_answers()) == ""


def test_no_file_has_a_key_and_only_stores_have_content(world):
    assert told(world.on_disk()) == ""
    world.gateway.stop()  # what waits is written now, and write-ahead logs go into their databases
    assert told(world.on_disk()) == ""


# ---- the search itself


@pytest.fixture
def canaries():
    made = Canaries()
    made.make("one")
    made.others["two"] = "anothersecret23456"
    return made


PACKINGS = list(packings("x" * 30))


@pytest.mark.parametrize("form", PACKINGS)
def test_a_canary_is_found_in_every_form(canaries, form):
    data = packings(canaries.texts["one"])[form]
    found = {one.name for one in canaries.search(data, "somewhere")}
    assert found, form
    assert found <= {"one", "a piece"}


def test_a_secret_made_elsewhere_is_found_and_nothing_in_what_has_none(canaries):
    for data in packings(canaries.others["two"]).values():
        found = {one.name for one in canaries.search(data, "somewhere")}
        assert found <= {"two"}
    assert {one.name for one in canaries.search(b"with anothersecret23456 in it", "")} == {"two"}
    assert list(canaries.search(b"nothing here " * 1000 + bytes(range(256)), "")) == []


@pytest.mark.parametrize("long", [0, 9000], ids=["in a page", "over several"])
def test_a_canary_in_a_database_is_found_before_and_after_the_log_is_written_back(canaries, tmp_path, long):
    path = tmp_path / "some.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=wal")
    connection.execute("CREATE TABLE told (text)")
    connection.execute("INSERT INTO told VALUES (?)", ["x" * long + canaries.texts["one"]])
    connection.commit()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert "one" in {found.name for found in search_file(canaries, path, scratch)}
    connection.close()
    assert "one" in {found.name for found in search_file(canaries, path, scratch)}


def test_a_canary_in_a_name_or_an_argument_is_found(canaries, tmp_path):
    path = tmp_path / f"about-{canaries.texts['one']}.txt"
    path.write_text("nothing")
    assert [found.name for found in search_file(canaries, path, tmp_path)] == ["one", "one"]
