"""What is written down of an error, what never is, and how it is found again."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import orjson
import pytest

from coordinators import raise_sites
from coordinators.error_log import ErrorLog, message_of
from coordinators.error_reading import ErrorReader, Wanted
from coordinators.error_registry import code_around, registry
from coordinators.limits import Limits
from coordinators.line_files import LineFile, Rotation
from coordinators.raise_sites import all_sites, sites_of
from coordinators.request_log import RequestLog
from coordinators.scrubbing import Scrubber
from coordinators.server_folder import ServerFolder
from coordinators.stored_keys import StoredKey
from express.origins import origin_of
from tasks.exchange import Exchange
from wire.body import parse_body
from wire.check import check_request
from wire.errors import AuthenticationFailed, GatewayError, InvalidRequest, Overloaded, UpstreamFailed

CONTENT = "a value of the client's"
SECRET = "the-secret-of-this-test"


@pytest.fixture
def folder(tmp_path):
    folder = ServerFolder(tmp_path, "aaaaaaaa")
    folder.create(version="1", settings={})
    yield folder
    folder.release()


@pytest.fixture
def log(folder):
    return ErrorLog(LineFile(folder.errors), Scrubber([SECRET]), ui_url="http://ui")


def records(folder):
    return [json.loads(line) for line in folder.errors.read_text().splitlines()]


def raised(call):
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is, it is looked at
        call()
    return caught.value


def exchange(**body):
    headers = {"x-api-key": "a-key", "anthropic-version": "1", "x-claude-code-session-id": "s-1"}
    asked = {"model": "m", "messages": [{"role": "user", "content": "a prompt"}], **body}
    return Exchange("req_1", headers, b'{"prompt"}', asked)


def deep(depth):
    if depth == 0:
        raise KeyError(CONTENT)
    deep(depth - 1)


def test_a_crash_is_written_down_with_its_stack_chain_and_request(log, folder):
    def crash():
        try:
            deep(3)
        except KeyError as error:
            raise UpstreamFailed(f"it broke with {SECRET}") from error

    error = raised(crash)
    known = log.note(error, status=500, exchange=exchange(), run_name="messages-req_1")
    (record,) = records(folder)
    assert record["hash"] == known == origin_of(error).hash
    assert record["message"] == "it broke with ***"
    assert [frame["function"] for frame in record["stack"]][-1].endswith("crash")
    (earlier,) = record["chain"]
    assert (earlier["how"], earlier["type"], earlier["message"]) == ("cause", "KeyError", None)
    assert record["request"]["headers"] == ["anthropic-version", "x-api-key", "x-claude-code-session-id"]
    assert record["request"]["messages"] == 1
    assert record["run"] == {
        "name": "messages-req_1",
        "link": "http://ui/runs?flow-run-search=messages-req_1",
    }
    text = folder.errors.read_text()
    for held in ("a-key", "a prompt", CONTENT, SECRET):
        assert held not in text


def test_a_refusal_costs_no_stack(log, folder):
    log.note(raised(lambda: parse_body(b"{")), status=400)
    (record,) = records(folder)
    assert (record["stack"], record["chain"], record["type"]) == (None, None, "InvalidRequest")


def test_of_many_alike_only_the_first_are_written_whole(log, folder):
    for _ in range(40):
        log.note(raised(lambda: deep(1)), status=500)
    whole = [record for record in records(folder) if record["stack"]]
    assert 30 <= len(whole) < 40 or len(whole) == 40  # a minute may have ended in between
    assert len(records(folder)) == 40


def test_deep_stacks_and_long_chains_are_bounded(log, folder):
    def chained():
        try:
            deep(100)
        except KeyError as first:
            error: Exception = first
            for number in range(20):
                try:
                    raise RuntimeError(str(number)) from error  # noqa: TRY301 - a chain is made
                except RuntimeError as next_one:
                    error = next_one
            raise error from error.__cause__

    log.note(raised(chained), crashed=True)
    (record,) = records(folder)
    assert len(record["chain"]) == 8
    log.note(raised(lambda: deep(100)), crashed=True)
    assert len(records(folder)[1]["stack"]) == 40


def test_an_error_is_noted_once_outside_of_requests_and_for_each_request_within(log, folder):
    error = raised(lambda: deep(0))
    assert log.note(error) == log.note(error, logger="uvicorn.error")
    assert len(records(folder)) == 1
    log.note(error, exchange=exchange())
    log.note(error, exchange=exchange())
    assert len(records(folder)) == 3


def test_an_error_that_breaks_when_looked_at_is_noted_all_the_same(log, folder):
    class Odd(GatewayError):
        @property
        def message(self):
            raise RuntimeError

        @message.setter
        def message(self, _):
            pass

    def odd():
        raise Odd("x")

    assert log.note(raised(odd), status=500) == records(folder)[0]["hash"]


def test_without_a_folder_errors_have_a_hash_still():
    assert len(ErrorLog(None, Scrubber()).note(raised(lambda: deep(0)))) == 12


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InvalidRequest("model: is missing"), "model: is missing"),
        (OSError(28, "No space left on device", "/a/path"), "No space left on device"),
        (ZeroDivisionError("division by zero"), "division by zero"),
        (ValueError("a prompt"), None),
        (KeyError("a prompt"), None),
        (AssertionError("a prompt"), None),
    ],
)
def test_only_texts_that_cannot_hold_content_are_written(error, told):
    assert message_of(error) == told


def test_a_request_is_not_searched_for_what_cannot_quote_it():
    asked = exchange()
    assert message_of(AuthenticationFailed("the key that was sent was revoked"), asked) is not None
    limits = Limits()
    limits.know(
        [StoredKey("t", "one", "d" * 64, 0.0, rpm=1), StoredKey("u", "two", "e" * 64, 0.0, daily_usd=0)]
    )
    limits.admit(asked, "t")
    for tenant in ("t", "u"):
        refused = raised(lambda tenant=tenant: limits.admit(asked, tenant))
        assert message_of(refused, asked) == refused.message
    assert asked.searched is None


# ---- reading ----


@pytest.fixture
def seen(tmp_path):
    """Two servers that noted three kinds of errors; the second one's file was rotated in between."""
    for name in ("aaaaaaaa", "bbbbbbbb"):
        folder = ServerFolder(tmp_path, name)
        folder.create(version="1", settings={})
        log = ErrorLog(LineFile(folder.errors, Rotation(size=2000)), Scrubber())
        log.note(raised(lambda: parse_body(b"{")), status=400, exchange=exchange(model="one"))
        log.note(raised(lambda: parse_body(b"{")), status=400, exchange=exchange(model="two"))
        log.note(raised(lambda: deep(0)), status=500, crashed=True, exchange=exchange(model="two"))
        folder.release()
    with folder.errors.open("ab") as file:
        file.write(b'{"time": torn\n[1]\n{"hash": 3}\n')
    return ErrorReader(tmp_path)


def test_errors_are_counted_by_hash(seen):
    counts = {one.record["type"]: one.count for one in seen.tally().values()}
    assert counts == {"InvalidRequest": 4, "KeyError": 2}


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 6), ({"type": "invalid"}, 4), ({"function": "deep"}, 2), ({"file": "wire/"}, 4),
        ({"model": "one"}, 2), ({"model": "one", "type": "KeyError"}, 0), ({"server": "bbbbbbbb"}, 3),
        ({"since": "2999"}, 0), ({"until": "2000"}, 0), ({"since": "2000", "until": "2999"}, 6),
        ({"text": "JSON"}, 4), ({"backend": "demo"}, 0), ({"request": "req_1"}, 6),
        ({"hash": "0" * 12}, 0),
    ],
)  # fmt: skip
def test_errors_are_found_by_what_is_known_of_them(seen, wanted, count):
    assert len(list(seen.records(Wanted(**wanted)))) == count


def test_pages_follow_one_another(seen):
    first, second = seen.page(Wanted(), 0, 4), seen.page(Wanted(), 4, 4)
    assert (len(first["data"]), first["next_offset"]) == (4, 4)
    assert (len(second["data"]), second["next_offset"]) == (2, None)


def test_one_hash_has_its_place_counts_and_last_occurrences(seen):
    known = origin_of(raised(lambda: parse_body(b"{"))).hash
    one = seen.one(known, 2)
    assert (one["count"], one["function"], len(one["occurrences"])) == (4, "parse_body", 2)
    assert one["first"] <= one["last"] == one["occurrences"][0]["time"]
    assert seen.one("0" * 12, 2) is None


def test_sums(seen):
    told = seen.stats(Wanted())
    assert (told["errors"], told["places"], told["crashes"]) == (6, 2, 2)
    assert told["by_model"] == {"two": 4, "one": 2}
    assert told["most"][0]["count"] == 4


def test_the_newest_come_first_whichever_server_wrote_last(tmp_path):
    files = {}
    for name, days in (("aaaaaaaa", "135"), ("bbbbbbbb", "24"), ("cccccccc", "0")):
        folder = ServerFolder(tmp_path, name)
        folder.create(version="1", settings={})
        lines = [{"time": f"2026-11-0{day}T00:00:00.000+00:00", "hash": "0" * 12} for day in days]
        folder.errors.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        folder.release()
        files[name] = folder.errors
    long_ago = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    os.utime(files["cccccccc"], (long_ago, long_ago))
    reader = ErrorReader(tmp_path)
    days = [(record["time"][8:10], record["server"][0]) for record in reader.records()]
    assert days == [("05", "a"), ("04", "b"), ("03", "a"), ("02", "b"), ("01", "a"), ("00", "c")]
    assert [record["server"][0] for record in reader.page(Wanted(), 1, 2)["data"]] == ["b", "a"]
    files["cccccccc"].write_bytes(b"")
    files["bbbbbbbb"].unlink()
    assert [record["time"][8:10] for record in reader.records()] == ["05", "03", "01"]


def test_reading_is_bounded(seen, tmp_path):
    assert 0 < len(list(ErrorReader(tmp_path, most_bytes=1500).records())) < 6
    assert list(ErrorReader(tmp_path / "nowhere").records()) == []


# ---- the source ----


@pytest.mark.parametrize(
    "call", [lambda: parse_body(b"{"), lambda: check_request({}), lambda: check_request({"model": 3})]
)
def test_the_scan_computes_the_hashes_that_errors_have(call):
    origin = origin_of(raised(call))
    (site,) = [site for site in all_sites() if site.hash == origin.hash]
    assert (site.kind, site.line, site.function) == ("raise", origin.line, origin.function)


SOURCE = """
from express import step, pipeline

def refusal(text) -> Refused:
    return Refused(text)

@step
async def one():
    try:
        raise errors.Broken(
            "over several lines",
        )
    except (KeyError, ValueError):
        raise
    except BaseException as error:
        raise refusal("x") from error

class House:
    @pipeline(name="x")
    def two(self):
        def inner():
            raise NotImplementedError
        raise found
"""


def test_every_kind_of_place_is_found():
    found = [
        (site.kind, site.function, site.type, site.hash is not None)
        for site in sites_of({"tasks/planted.py": SOURCE})
    ]
    assert found == [
        ("step", "one", "", False),
        ("raise", "one", "Broken", True),
        ("except", "one", "KeyError, ValueError", False),
        ("raise", "one", "", False),
        ("except", "one", "BaseException", False),
        ("raise", "one", "Refused", True),
        ("pipeline", "House.two", "", False),
        ("raise", "House.two.<locals>.inner", "NotImplementedError", True),
        ("raise", "House.two", "", False),
    ]


def test_a_multi_line_raise_and_an_inner_function_have_the_scans_hashes(tmp_path, monkeypatch):
    import linecache

    from express.origins import ROOT

    source = SOURCE.replace("from express import step, pipeline", "").replace("@step", "")
    source = source.replace('@pipeline(name="x")', "").replace("async def one", "def one")
    source = source.replace("errors.Broken", "Broken").replace("raise found", "inner()")
    source += "class Broken(Exception): pass\n"
    file = str(ROOT / "tasks" / "planted.py")
    monkeypatch.setitem(linecache.cache, file, (len(source), None, source.splitlines(True), file))
    names: dict = {}
    exec(compile(source, file, "exec"), names)
    scanned = {site.hash: site for site in sites_of({"tasks/planted.py": source}) if site.hash}
    chain = raised(names["one"])
    assert scanned[origin_of(chain.__cause__ or chain.__context__ or chain).hash].type == "Broken"
    assert scanned[origin_of(raised(names["House"]().two)).hash].function.endswith("inner")


def test_the_registry_merges_what_was_seen(seen):
    rows = registry(seen)
    known = origin_of(raised(lambda: parse_body(b"{"))).hash
    (row,) = [row for row in rows if row["hash"] == known]
    assert (row["kind"], row["count"]) == ("raise", 4)
    assert rows[0]["count"] >= 4
    assert [row["function"] for row in rows if row["kind"] == "seen"] == ["deep"]
    assert any(row["kind"] == "step" and row["count"] == 0 for row in rows)


def test_code_around_a_place_is_ours_only():
    lines = dict(code_around("wire/body.py", 10, 2))
    assert list(lines) == [8, 9, 10, 11, 12]
    for other in ("../pyproject.toml", "/etc/passwd", "wire/nothing.py", ""):
        assert code_around(other, 1) == []


def test_a_request_that_ended_well_is_one_line(folder):
    from coordinators.observing import Ending
    from express import Run

    run, echoed = Run("messages", name="messages-req_1"), []
    file = LineFile(folder.requests)
    summary = {"output_tokens": 3, "cost_usd": 0.1, "fallback": f"x: {SECRET}", "ttft_ms": 2.0}
    asked = exchange(model=f"x-{SECRET}")
    ending = Ending(asked, "messages", 200, 12.5, summary, None, run.id, run.name, False, run)
    requests = RequestLog(file, Scrubber([SECRET]), echoed.append)
    requests.ended(ending)
    (written,) = folder.requests.read_text().splitlines()
    assert echoed == [written.encode()]
    line = json.loads(written)
    assert line["id"] == "req_1"
    assert (line["status"], line["ms"], line["output_tokens"], line["session"]) == (200, 12.5, 3, "s-1")
    assert line["model"] == "x-***"
    assert line["fallback"] == "x: ***"
    assert line["run_id"] == str(run.id)
    requests.ended(ending._replace(status=500))
    assert len(echoed) == 1  # what went wrong has a line of its own in the log
    assert Overloaded("x").told == "x"
    assert raise_sites.all_sites() is all_sites()
