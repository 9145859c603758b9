"""The Message Batches API of a real web process, asked by the SDK. The test does the engine's part."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import sys
from http.client import HTTPResponse
from urllib.parse import urlsplit

import anthropic
import httpx
import pytest

from coordinators.batch_store import SqlBatchStore
from tasks.batch import ItemResult
from tests.fakes.waiting import until
from tests.fakes.web import WebProcess

KEYS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan")
PARAMS = {"model": "claude-sonnet-4", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hello"}], "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 4},
}  # fmt: skip
ERROR = {"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: no"}}
PATH = "/v1/messages/batches"


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    with WebProcess(tmp_path_factory.mktemp("batches"), HEADGATE_API_KEYS=",".join(KEYS)) as process:
        yield process


@pytest.fixture
def client(web):
    with anthropic.Anthropic(base_url=web.url, api_key="alice", max_retries=0, timeout=60) as client:
        yield client


def requests(*names, **params):
    return [{"custom_id": name, "params": PARAMS | params} for name in names]


def body(*names, **params):
    return json.dumps({"requests": requests(*names, **params)}).encode()


def call(web, method, path="", key="alice", content=None, headers=(), prefix=PATH):
    return httpx.request(
        method,
        f"{web.url}{prefix}{path}",
        content=content,
        headers={"x-api-key": key, **dict(headers)},
        timeout=60,
    )


def made(web, *names, key="alice", **params):
    answer = call(web, "POST", key=key, content=body(*names, **params))
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def error_of(answer, status, kind):
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["type"] == "error"
    assert told["error"]["type"] == kind
    assert told["request_id"] == answer.headers["request-id"]
    return told["error"]["message"]


def result(item, outcome="succeeded", content=None):
    contents = {"succeeded": MESSAGE, "errored": ERROR}
    told = b"" if outcome not in contents else json.dumps(content or contents[outcome]).encode()
    failed = {"error_type": "invalid_request_error", "error_hash": "abc123"} if outcome == "errored" else {}
    used = {"input_tokens": 3, "output_tokens": 4, "cost": 0.5} if outcome == "succeeded" else {}
    return ItemResult(item.seq, item.custom_id, outcome, told, attempts=1, **failed, **used)


async def execute(web, batch_id, outcome_of=lambda _: "succeeded", content=None, end=True):
    """Do what the engine does: lease, take what is pending, record, and end."""
    async with SqlBatchStore(web.database) as store:
        whole = await store.lease_batch(batch_id, "test", 60)
        for chunk in await store.chunks(batch_id):
            lease = await store.lease_chunk(batch_id, chunk.number, "test", 60)
            after = -1
            while items := await store.pending(lease, after=after):
                after = items[-1].seq
                done = [(item, outcome_of(item)) for item in items]
                await store.record(lease, [result(item, how, content) for item, how in done if how])
            await store.finish_chunk(lease)
        if end:
            assert await store.end(whole) is not None
        await store.release(whole)


def rows(web):
    with sqlite3.connect(web.database.removeprefix("sqlite:///")) as connection:
        names = ("batches", "batch_items")
        return [connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names]


# ---- the SDK, from making to deleting


@pytest.mark.parametrize("beta", [False, True], ids=["usual", "beta"])
@pytest.mark.parametrize("base", ["", "/v1"], ids=["", "base with v1"])
async def test_a_batch_from_beginning_to_end(web, beta, base):
    with anthropic.Anthropic(base_url=web.url + base, api_key="bob", max_retries=0) as client:
        batches = client.beta.messages.batches if beta else client.messages.batches
        batch = batches.create(requests=requests("good", "bad", "late"))
        assert batch.id.startswith("msgbatch_")
        assert (batch.type, batch.processing_status) == ("message_batch", "in_progress")
        assert batch.request_counts.to_dict() == {
            "processing": 3, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0
        }  # fmt: skip
        assert (batch.expires_at - batch.created_at).total_seconds() == pytest.approx(24 * 3600, abs=30)
        assert batch.results_url is batch.ended_at is batch.archived_at is batch.cancel_initiated_at is None
        assert batches.retrieve(batch.id) == batch
        assert batches.list(limit=1).data == [batch]
        with pytest.raises(anthropic.AnthropicError, match="finished processing"):
            batches.results(batch.id)

        outcomes = {"good": "succeeded", "bad": "errored", "late": "expired"}
        await execute(web, batch.id, lambda item: outcomes[item.custom_id])
        ended = batches.retrieve(batch.id)
        assert ended.processing_status == "ended"
        assert ended.ended_at >= batch.created_at
        assert ended.results_url == f"{web.url}{PATH}/{batch.id}/results"
        assert ended.request_counts.to_dict() == {
            "processing": 0, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 1
        }  # fmt: skip
        results = {one.custom_id: one.result for one in batches.results(batch.id)}
        assert results["good"].message.content[0].text == "Hello"
        assert results["good"].message.usage.output_tokens == 4
        assert results["bad"].error.error.message == "max_tokens: no"
        assert results["late"].type == "expired"
        deleted = batches.delete(batch.id)
        assert (deleted.id, deleted.type) == (batch.id, "message_batch_deleted")
        with pytest.raises(anthropic.NotFoundError):
            batches.retrieve(batch.id)


@pytest.mark.parametrize("beta", [False, True], ids=["usual", "beta"])
async def test_the_asynchronous_client(web, beta):
    async with anthropic.AsyncAnthropic(base_url=web.url, api_key="bob", max_retries=0) as client:
        batches = client.beta.messages.batches if beta else client.messages.batches
        batch = await batches.create(requests=requests("a", "b"))
        canceling = await batches.cancel(batch.id)
        assert canceling.processing_status == "canceling"
        assert canceling.cancel_initiated_at is not None
        assert canceling.request_counts.processing == 2
        await execute(web, batch.id, lambda item: "canceled" if item.custom_id == "b" else "succeeded")
        results = [one async for one in await batches.results(batch.id)]
        assert [(one.custom_id, one.result.type) for one in results] == [
            ("a", "succeeded"),
            ("b", "canceled"),
        ]
        again = await batches.cancel(batch.id)
        assert again == await batches.retrieve(batch.id)
        assert again.processing_status == "ended"
        assert batch.id in [one.id async for one in batches.list()]
        await batches.delete(batch.id)


def test_pages_both_ways(web):
    ids = [made(web, "a", key="carol") for _ in range(5)][::-1]
    with anthropic.Anthropic(base_url=web.url, api_key="carol") as client:
        batches = client.messages.batches
        assert [one.id for one in batches.list(limit=2)] == ids
        page = batches.list(limit=2)
        assert (page.first_id, page.last_id, page.has_more) == (ids[0], ids[1], True)
        assert [one.id for one in batches.list(limit=2, after_id=ids[1])] == ids[2:]
        assert batches.list(limit=3, after_id=ids[1]).has_more is False
        before = batches.list(limit=2, before_id=ids[4])
        assert [one.id for one in before.data] == ids[2:4]
        assert before.has_more is True
        assert {one.id for one in batches.list(limit=2, before_id=ids[4])} == set(ids[:4])
    nothing = call(web, "GET", key="grace").json()
    assert nothing == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(("beta", "key"), [(False, "heidi"), (True, "ivan")], ids=["usual", "beta"])
async def test_each_batch_may_be_deleted_while_the_pages_are_gone_through(web, beta, key):
    ids = [made(web, "a", key=key) for _ in range(5)][::-1]
    for batch_id in ids:
        await execute(web, batch_id)
    with anthropic.Anthropic(base_url=web.url, api_key=key, max_retries=0) as client:
        batches = client.beta.messages.batches if beta else client.messages.batches
        seen = []
        for batch in batches.list(limit=2):
            batches.delete(batch.id)
            seen.append(batch.id)
        assert seen == ids
        assert batches.list().data == []
        with pytest.raises(anthropic.NotFoundError):
            batches.retrieve(ids[0])
        kept = made(web, "a", key=key)
        assert [one.id for one in batches.list(before_id=ids[2]).data] == [kept]
        assert batches.list(after_id=ids[2]).data == []
    theirs = call(web, "GET", f"?after_id={ids[0]}", key="frank")
    assert "no batch with this id" in error_of(theirs, 400, "invalid_request_error")


async def test_the_anthropic_headers_and_params_are_kept_as_sent(web, client):
    batch = client.beta.messages.batches.create(
        requests=requests("a", odd={"text": 'é "}{" \\ \u2028'}),
        betas=["context-1m-2025-08-07"],
        user_profile_id="person",
    )
    async with SqlBatchStore(web.database) as store:
        kept = (await store.get(batch.id)).headers
        assert kept["anthropic-beta"].startswith("context-1m-2025-08-07")
        assert kept["anthropic-user-profile-id"] == "person"
        assert not [name for name in kept if not name.startswith("anthropic-")]
        lease = await store.lease_chunk(batch.id, 0, "test", 60)
        (item,) = await store.pending(lease)
        assert json.loads(item.params) == PARAMS | {"odd": {"text": 'é "}{" \\ \u2028'}}
        await store.release(lease)


# ---- results


async def test_many_results_come_in_order_by_pages(web, client):
    names = [f"item-{number}" for number in range(1203)]
    batch = client.messages.batches.create(requests=requests(*names))
    await execute(web, batch.id)
    answer = call(web, "GET", f"/{batch.id}/results")
    assert answer.headers["content-type"].startswith("application/x-jsonl")
    assert answer.headers["request-id"].startswith("req_")
    assert [json.loads(line)["custom_id"] for line in answer.text.splitlines()] == names
    assert sum(1 for _ in client.messages.batches.results(batch.id)) == 1203


async def test_results_are_broken_off_when_the_batch_is_deleted(web):
    """Their end would say that they are whole."""
    batch_id = made(web, *(f"i{number}" for number in range(60)))
    large = MESSAGE | {"content": [{"type": "text", "text": "x" * 1_000_000}]}
    await execute(web, batch_id, content=large)
    with httpx.stream("GET", f"{web.url}{PATH}/{batch_id}/results", headers={"x-api-key": "alice"}) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        assert call(web, "DELETE", f"/{batch_id}").status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in pieces:
                pass
    assert "results broken off" in web.log()


@pytest.mark.parametrize(
    ("headers", "root"),
    [
        ({"host": "gate.example:8443"}, "http://gate.example:8443"),
        (
            {"host": "inner", "x-forwarded-proto": "https", "x-forwarded-host": "gate.example"},
            "https://gate.example",
        ),
        ({"host": "gate.example", "x-forwarded-proto": "https, http"}, "https://gate.example"),
        ({"host": "gate.example", "x-forwarded-proto": "ftp"}, "http://gate.example"),
        ({"host": "gate.example", "x-forwarded-host": "a/../b?x"}, "http://gate.example"),
        ({"host": "bad host"}, None),
    ],
    ids=str,
)
async def test_the_address_of_results_is_the_one_the_client_used(web, headers, root, ended):
    told = call(web, "GET", f"/{ended}", key="erin", headers=headers).json()
    assert told["results_url"] == f"{root or web.url}{PATH}/{ended}/results"


@pytest.fixture(scope="module")
def ended(web):
    batch_id = made(web, "a", key="erin")
    asyncio.run(execute(web, batch_id))
    return batch_id


# ---- idempotency


def test_the_same_key_and_body_make_one_batch(web):
    key = {"idempotency-key": "monday"}
    first = call(web, "POST", content=body("a", "b"), headers=key).json()
    assert call(web, "POST", content=body("a", "b"), headers=key).json() == first
    other = call(web, "POST", content=body("a", "c"), headers=key)
    assert first["id"] in error_of(other, 409, "invalid_request_error")
    assert other.headers["x-should-retry"] == "false"
    for another in (
        call(web, "POST", content=body("a", "b"), headers=key, key="dave"),
        call(web, "POST", content=body("a", "b"), headers={"idempotency-key": "tuesday"}),
        call(web, "POST", content=body("a", "b")),
    ):
        assert another.json()["id"] != first["id"]


def test_the_sdk_does_not_repeat_a_key_that_was_used(web):
    with anthropic.Anthropic(base_url=web.url, api_key="dave", max_retries=2) as client:
        key = {"idempotency-key": "once"}
        client.messages.batches.create(requests=requests("a"), extra_headers=key)
        before = rows(web)
        with pytest.raises(anthropic.ConflictError):
            client.messages.batches.create(requests=requests("b"), extra_headers=key)
    assert rows(web) == before


# ---- ours: pause, resume, progress


async def test_pause_resume_and_progress(web):
    names = {"x-headgate-batch-name": "Monday%27s%20caf%C3%A9.jsonl"}
    batch_id = call(web, "POST", content=body("a", "b", "c"), headers=names).json()["id"]
    paused = call(web, "POST", f"/{batch_id}/pause").json()
    assert (paused["paused"], paused["processing_status"], paused["done"]) == (True, "in_progress", 0)
    assert call(web, "GET", f"/{batch_id}").json()["processing_status"] == "in_progress"
    assert call(web, "POST", f"/{batch_id}/resume").json()["paused"] is False

    outcomes = {"a": "succeeded", "b": "errored", "c": None}
    await execute(web, batch_id, lambda item: outcomes[item.custom_id], end=False)
    async with SqlBatchStore(web.database) as store:
        await store.set_flow_run(batch_id, "0199-run")
    told = call(web, "GET", f"/{batch_id}/progress").json()
    assert told["type"] == "message_batch_progress"
    assert told["name"] == "Monday's café.jsonl"
    assert told["request_counts"] == {
        "processing": 1, "succeeded": 1, "errored": 1, "canceled": 0, "expired": 0
    }  # fmt: skip
    assert (told["requests"], told["done"]) == (3, 2)
    assert (told["input_tokens"], told["output_tokens"], told["cost"]) == (3, 4, 0.5)
    assert told["requests_per_second"] > 0
    assert told["run_id"] == "0199-run"
    assert told["run_url"] == "http://127.0.0.1:4200/runs/flow-run/0199-run"
    assert told["failures"] == [
        {
            "custom_id": "b",
            "error_type": "invalid_request_error",
            "message": "max_tokens: no",
            "error_hash": "abc123",
            "attempts": 1,
        }
    ]
    counts = call(web, "GET", f"/{batch_id}").json()["request_counts"]
    assert counts["processing"] == 3  # Anthropic's counts change when the batch has ended
    call(web, "POST", f"/{batch_id}/cancel")
    told = error_of(call(web, "POST", f"/{batch_id}/pause"), 400, "invalid_request_error")
    assert "canceling" in told


# ---- refused


def test_without_a_key(web):
    for method, path in [
        ("POST", ""),
        ("GET", ""),
        ("GET", "/x"),
        ("GET", "/x/results"),
        ("POST", "/x/pause"),
    ]:
        answer = call(web, method, path, key="nobody", content=body("a") if method == "POST" else None)
        error_of(answer, 401, "authentication_error")


EACH = [
    ("GET", ""),
    ("DELETE", ""),
    ("GET", "/results"),
    ("GET", "/progress"),
    ("POST", "/cancel"),
    ("POST", "/pause"),
    ("POST", "/resume"),
]


@pytest.mark.parametrize(("method", "path"), EACH)
def test_the_batches_of_others_are_not_there(web, method, path, ended):
    for batch_id in (ended, "msgbatch_unknown"):
        answer = call(web, method, f"/{batch_id}{path}", key="frank")
        assert batch_id in error_of(answer, 404, "not_found_error")
    assert call(web, "GET", f"/{ended}", key="erin").status_code == 200
    mark = call(web, "GET", f"?after_id={ended}", key="frank")
    assert "after_id" in error_of(mark, 400, "invalid_request_error")


@pytest.mark.parametrize(
    ("content", "headers", "told"),
    [
        (b"", {}, "body: is empty"),
        (b"[]", {}, "body: must be a JSON object"),
        (b'{"requests": []}', {}, "requests: must hold at least one"),
        (b'{"requests": [{"custom_id": "a b", "params": {}}]}', {}, "requests.0.custom_id: "),
        (body("a", "b", "a"), {}, "custom_id a is given more than once"),
        (body("a")[:-1], {}, "body: ends too early"),
        (body("a"), {"content-encoding": "gzip"}, "content-encoding: 'gzip' bodies are not taken"),
        (body("a"), {"idempotency-key": "k" * 256}, "idempotency-key: "),
    ],
)
def test_a_wrong_body_leaves_nothing(web, content, headers, told):
    made(web, "a")  # so that there are tables
    before = rows(web)
    answer = call(web, "POST", content=content, headers=headers)
    assert told in error_of(answer, 400, "invalid_request_error")
    assert rows(web) == before


def test_a_custom_id_given_again_much_later(web):
    before = rows(web)
    names = [f"i{number}" for number in range(1300)]
    answer = call(web, "POST", content=body(*names, "i7"))
    assert "custom_id i7 " in error_of(answer, 400, "invalid_request_error")
    until(lambda: rows(web) == before)


def test_what_is_not_yet_possible(web):
    batch_id = made(web, "a")
    told = error_of(call(web, "DELETE", f"/{batch_id}"), 400, "invalid_request_error")
    assert "cancel it" in told
    told = error_of(call(web, "GET", f"/{batch_id}/results"), 400, "invalid_request_error")
    assert "in_progress, with 1 of 1 requests still" in told


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "?limit=0", 400),
        ("GET", "?limit=1001", 400),
        ("GET", "?limit=x", 400),
        ("GET", "?before_id=a&after_id=b", 400),
        ("GET", "?before_id=unknown", 400),
        ("GET", "?limit=1000&beta=true", 200),
        ("DELETE", "", 405),
        ("PUT", "/x", 405),
        ("GET", "/x/cancel", 405),
        ("GET", "/x/nothing", 404),
    ],
)
def test_routes(web, method, path, status):
    for prefix in (PATH, f"/v1{PATH}"):
        answer = call(web, method, path, prefix=prefix)
        assert answer.status_code == status, answer.text
        assert answer.headers["request-id"].startswith("req_")


# ---- long bodies


def connection(web):
    address = urlsplit(web.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def answer_on(peer):
    answer = HTTPResponse(peer)
    answer.begin()
    return answer.status, json.loads(answer.read())


HEAD = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nx-api-key: alice\r\n".encode()


def test_a_body_that_is_too_long_is_refused_before_it_comes(web):
    with connection(web) as peer:
        peer.sendall(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % (256 * 1024 * 1024 + 1))
        status, told = answer_on(peer)
    assert status == 413
    assert told["error"]["type"] == "request_too_large"
    assert "256 MB" in told["error"]["message"]


def test_a_body_that_comes_bit_by_bit(web):
    content = body("a", "b", text="é😀" * 50)
    with connection(web) as peer:
        peer.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(content), 50):
            piece = content[start : start + 50]
            peer.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        peer.sendall(b"0\r\n\r\n")
        status, told = answer_on(peer)
    assert status == 200
    assert told["request_counts"]["processing"] == 2


def test_a_client_that_leaves_leaves_nothing(web):
    made(web, "a")
    before = rows(web)
    content = body(*(f"i{number}" for number in range(3000)))
    with connection(web) as peer:
        peer.sendall(HEAD + b"content-length: %d\r\n\r\n" % (len(content) + 1))
        peer.sendall(content)
        until(lambda: rows(web)[1] > before[1])
    until(lambda: rows(web) == before)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat_however_long_the_body(web):
    each = b"x" * 2000

    def content(size):
        yield b'{"requests":['
        for number in range(size // len(each)):
            start = b"," if number else b""
            yield start + b'{"custom_id":"i%d","params":{"text":"%b"}}' % (number, each)
        yield b"]}"

    call(web, "POST", content=content(2_000_000))  # everything it needs is loaded
    before = web.forget_peak()
    answer = call(web, "POST", content=content(60_000_000))
    assert answer.json()["request_counts"]["processing"] == 30_000
    assert web.peak() - before < 30_000_000


# ---- a store that fails


def test_a_database_that_is_down_stops_batches_only(tmp_path):
    with WebProcess(tmp_path, DATABASE_URL="postgresql://user:hidden@127.0.0.1:9/db") as web:
        assert call(web, "GET", prefix="/v1/models").status_code == 200
        for method, path in [("POST", ""), ("GET", ""), *((method, f"/x{path}") for method, path in EACH)]:
            answer = call(web, method, path, content=body("a") if method == "POST" else None)
            told = error_of(answer, 529, "overloaded_error")
            assert "hidden" not in told
        assert "hidden" not in web.log()
        assert "the store of batches failed" in web.log()


def test_open_batches_are_in_the_metrics(web):
    def series():
        text = httpx.get(f"{web.url}/metrics", headers={"x-api-key": "alice"}, timeout=60).text
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("headgate_batch"))

    before = float(series()['headgate_batch_requests{state="processing"}'])
    made(web, "a", "b")
    after = series()
    assert float(after['headgate_batch_requests{state="processing"}']) == before + 2
    assert float(after['headgate_batches_open{state="in_progress"}']) >= 1
    assert float(after["headgate_batch_oldest_age_seconds"]) > 0
