"""A failing upstream is survived before the client notices: fallbacks, cooling down, keys, places."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack

import httpx
import pytest

from tests.fakes.waiting import until
from tests.routers.conftest import gateway_on

ASK = {"max_tokens": 1024, "messages": [{"role": "user", "content": "Hello"}]}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
FALLBACKS = {
    "big": ["small", "databricks:gpt-oss"],
    "here": ["openai_compatible:llama3"],
    "x/*": "databricks:claude-sonnet-4",
}


@pytest.fixture(scope="module")
def surviving(openrouter_process, backends_process):
    """A gateway that falls back, and never cools down."""
    with gateway_on(
        openrouter_process,
        HEADGATE_FALLBACKS=json.dumps(FALLBACKS),
        HEADGATE_MODELS='{"here": "openai/gpt-5"}',
        HEADGATE_RETRIES="1",
        **backends_process.databricks | backends_process.compatible,
    ) as gateway:
        yield gateway


def post(gateway, model, **fields):
    return httpx.post(f"{gateway.url}/v1/messages", json={"model": model, **ASK, **fields})


def text_of(answer):
    if "event-stream" not in answer.headers["content-type"]:
        return answer.json()["content"][0]["text"]
    frames = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    return "".join(one["delta"].get("text", "") for one in frames if one["type"] == "content_block_delta")


def health_of(gateway, name="openrouter"):
    told = httpx.get(f"{gateway.url}/health/detailed").json()
    return next(one for one in told["backends"] if one["name"] == name)


# ---- fallbacks ----


WORTH = [
    ({"status": 408, "message": "late"}, 2),
    ({"status": 409, "message": "conflict"}, 2),
    ({"status": 429, "message": "slow down"}, 2),
    ({"status": 429, "message": "slow down", "headers": {"retry-after": "4"}}, 1),
    ({"status": 500, "message": "oops"}, 2),
    ({"status": 529, "message": "busy"}, 2),
    ({"status": 402, "message": "no credit"}, 1),
    ({"status": 401, "message": "no such key"}, 1),
    ({"status": 403, "message": "not with this key"}, 1),
    ({"fault": "reset_before_headers"}, 2),
    ({"fault": "stall_headers"}, 1),
]


@pytest.mark.parametrize(("reply", "calls"), WORTH, ids=[str(reply) for reply, _ in WORTH])
@pytest.mark.parametrize("stream", [False, True])
def test_another_backend_answers_on_its_own_wire(surviving, openrouter, backends, reply, calls, stream):
    openrouter.script({**reply, "times": 0})
    backends.script({"text": "From afar."})
    answer = post(surviving, "here", stream=stream)
    assert answer.status_code == 200, answer.text
    assert text_of(answer) == "From afar."
    assert answer.headers["x-headgate-backend"] == "openai_compatible"
    assert '"model":"here"' in answer.text
    assert len(openrouter.requests("chat")) == calls
    (seen,) = backends.requests()
    assert (seen["path"], seen["body"]["model"]) == ("compatible chat", "llama3")


def test_the_chain_goes_on_across_wires(surviving, openrouter, backends):
    """`big` and `small` are on OpenRouter's messages wire, the last of the three on a chat wire."""
    openrouter.script({"status": 503, "message": "busy", "times": 0})
    answer = post(surviving, "big")
    assert answer.headers["x-headgate-backend"] == "databricks"
    models = [seen["body"]["model"] for seen in openrouter.requests()]
    assert models == ["anthropic/claude-sonnet-4"] * 2 + ["anthropic/claude-3.7-sonnet"] * 2
    assert [seen["path"] for seen in backends.requests()] == ["databricks chat"]


def test_a_pattern_has_a_fallback(surviving, openrouter, backends):
    openrouter.script({"status": 500, "message": "oops", "times": 0})
    assert post(surviving, "x/model").headers["x-headgate-backend"] == "databricks"


@pytest.mark.parametrize(
    "reply",
    [
        {"text": "cut off", "fault": "empty"},
        {"fault": "error_in_200", "error": {"code": 502, "message": "provider failed"}},
        {"status": 200, "body": "<html>no</html>"},
        {"text": "late", "fault": "error_frame", "after": 1},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_none_falls_back_too(surviving, openrouter, backends, reply, stream):
    openrouter.script({**reply, "times": 0})
    answer = post(surviving, "here", stream=stream)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-headgate-backend"] == "openai_compatible"


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ({"status": 400, "message": "bad schema"}, 400),
        ({"status": 400, "message": "This model's maximum context length is 100 tokens"}, 400),
        ({"status": 404, "message": "no such model"}, 404),
        ({"status": 413, "message": "too large"}, 413),
        ({"status": 403, "message": "flagged", "body": {"error": {"code": 403, "message": "flagged",
          "metadata": {"reasons": ["x"], "flagged_input": "x"}}}}, 403),
    ],
)  # fmt: skip
def test_a_wrong_request_is_wrong_everywhere(surviving, openrouter, backends, reply, status):
    openrouter.script(reply)
    assert post(surviving, "here").status_code == status
    assert backends.requests() == []


def test_after_the_first_event_nobody_else_is_asked(surviving, openrouter, backends):
    openrouter.script({"text": "word " * 30, "fault": "reset", "after": 8})
    answer = post(surviving, "here", stream=True)
    assert "event: error" in answer.text
    assert backends.requests() == []


def test_a_fallback_without_a_form_is_passed_over_and_the_first_error_told(surviving, openrouter, backends):
    openrouter.script({"status": 529, "message": "the first is busy", "times": 0})
    answer = post(surviving, "here", messages=[{"role": "user", "content": [PDF]}])
    assert answer.status_code == 529
    assert answer.json()["error"]["message"].partition(" [error ")[0] == "the first is busy"
    assert backends.requests() == []


# ---- cooling down ----


def cooling(openrouter, **settings):
    given = {"HEADGATE_COOLDOWN_AFTER": "3", "HEADGATE_COOLDOWN_SECONDS": "1", "HEADGATE_RETRIES": "0"}
    return gateway_on(openrouter, **given | settings)


def test_what_fails_again_and_again_is_left_alone_then_tried_once(openrouter):
    with cooling(openrouter) as gateway:
        openrouter.script({"status": 500, "message": "oops", "times": 4})
        assert [post(gateway, "big").status_code for _ in range(3)] == [500] * 3
        shut = post(gateway, "big")
        assert (shut.status_code, shut.headers["retry-after"]) == (529, "1")
        assert shut.json()["error"]["type"] == "overloaded_error"
        told = health_of(gateway)
        assert told["state"] == "closed"  # the backend is there
        assert told["models_shut"] == ["anthropic/claude-sonnet-4"]
        assert told["keys"][0]["last_error"] == "UpstreamFailed"
        assert told["keys"][0]["last_error_at"].startswith("20")
        assert len(openrouter.requests("messages")) == 3
        until(lambda: not health_of(gateway)["models_shut"])
        assert post(gateway, "big").status_code == 500  # the trial, which fails
        assert post(gateway, "big").status_code == 529
        until(lambda: not health_of(gateway)["models_shut"])
        assert post(gateway, "big").status_code == 200
        assert post(gateway, "big").status_code == 200
    assert len(openrouter.requests("messages")) == 6


def test_a_model_that_fails_shuts_out_no_other(openrouter):
    """By default: OpenRouter passes requests on, and one provider's trouble is nobody else's."""
    given = {"HEADGATE_COOLDOWN_AFTER": "5", "HEADGATE_RETRIES": "2"}
    with gateway_on(openrouter, **given) as gateway:
        openrouter.script({"status": 503, "message": "no instances", "when": {"model": "^some/"}, "times": 0})
        broken = [post(gateway, "some/broken").status_code for _ in range(3)]
        others = [post(gateway, model).status_code for model in ("openai/gpt-5", "claude-sonnet-4")]
        part = httpx.get(f"{gateway.url}/health/detailed").json()["parts"]["backend:openrouter"]
        metrics = httpx.get(f"{gateway.url}/metrics").text
        page = httpx.get(f"{gateway.url}/overview").text
    assert (broken, others) == ([529] * 3, [200, 200])
    assert (part["state"], part["models_shut"]) == ("ok", ["some/broken"])
    assert 'headgate_backend_models_shut{backend="openrouter"} 1.0' in metrics
    assert "left alone: some/broken" in page


def test_a_backend_that_cannot_be_reached_is_left_alone_for_every_model(openrouter):
    with cooling(openrouter, OPENROUTER_BASE_URL="http://127.0.0.1:9/api/v1") as gateway:
        answers = [post(gateway, model) for model in ("big", "openai/gpt-5", "x/y", "some/other")]
        told = health_of(gateway)
    assert [answer.status_code for answer in answers] == [500, 500, 500, 529]
    assert (told["state"], told["models_shut"]) == ("open", [])


def test_a_refused_request_is_no_failure_of_the_backend(openrouter):
    with cooling(openrouter) as gateway:
        openrouter.script(*[{"status": 500, "message": "oops"}, {"status": 400, "message": "bad"}] * 3)
        assert [post(gateway, "big").status_code for _ in range(7)] == [500, 400] * 3 + [200]


def test_a_refused_key_is_told_as_such_while_it_cools_down(openrouter):
    with cooling(openrouter) as gateway:
        openrouter.script({"status": 401, "message": "no such key", "times": 0})
        answers = [post(gateway, "big") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [403] * 5
    assert "OPENROUTER_API_KEY was refused" in answers[-1].json()["error"]["message"]
    assert len(openrouter.requests()) == 3


def test_an_open_backend_is_passed_by(openrouter, backends):
    with cooling(
        openrouter, HEADGATE_FALLBACKS='{"*": ["databricks:claude-sonnet-4"]}', **backends.databricks
    ) as gateway:
        openrouter.script({"status": 500, "message": "oops", "times": 0})
        answers = [post(gateway, "big").headers["x-headgate-backend"] for _ in range(6)]
        assert answers == ["databricks"] * 6
    assert len(openrouter.requests()) == 3


# ---- keys ----


def keys_seen(openrouter):
    return [seen["headers"]["authorization"].removeprefix("Bearer ") for seen in openrouter.requests()]


def keyed(openrouter, keys, **settings):
    given = {"OPENROUTER_API_KEY": "", "OPENROUTER_API_KEYS": keys, "HEADGATE_COOLDOWN_AFTER": "5"}
    return gateway_on(openrouter, **given | settings)


def test_keys_share_by_weight(openrouter):
    with keyed(openrouter, "sk-one*3, sk-two") as gateway:
        assert all(post(gateway, "big").status_code == 200 for _ in range(8))
    seen = keys_seen(openrouter)
    assert (seen.count("sk-one"), seen.count("sk-two")) == (6, 2)
    assert seen[:4] == seen[4:]
    assert "sk-two" in seen[1:3]  # spread, not at the end


@pytest.mark.parametrize("status", [401, 402, 429])
def test_a_key_that_is_refused_cools_down_alone(openrouter, status):
    with keyed(openrouter, "sk-one,sk-two", HEADGATE_RETRIES="0") as gateway:
        openrouter.script({"status": status, "message": "not this one"})
        answers = [post(gateway, "big").status_code for _ in range(4)]
        told = health_of(gateway)
        page = httpx.get(f"{gateway.url}/health/detailed").text + gateway.log() + "".join(gateway.output)
    assert answers == [200] * 4
    assert keys_seen(openrouter) == ["sk-one"] + ["sk-two"] * 4
    first = "closed" if status == 429 else "open"  # a limit may be the model's: other models go on
    assert (told["state"], [key["state"] for key in told["keys"]]) == ("closed", [first, "closed"])
    assert "sk-one" not in page
    assert "sk-two" not in page


def test_when_all_keys_are_refused_it_is_told(openrouter):
    with keyed(openrouter, "sk-one,sk-two") as gateway:
        openrouter.script({"status": 401, "message": "no", "times": 0})
        answers = [post(gateway, "big") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert "OPENROUTER_API_KEYS was refused" in answers[1].json()["error"]["message"]
    assert len(openrouter.requests()) == 2


# ---- places ----


PATIENT = {f"HEADGATE_{name}_TIMEOUT": "60" for name in ("ANSWER", "FIRST_BYTE", "IDLE")}


def crowded(openrouter, places, queue):
    return gateway_on(
        openrouter, HEADGATE_BACKEND_CONCURRENCY=str(places), HEADGATE_BACKEND_QUEUE=str(queue), **PATIENT
    )  # fmt: skip


def test_a_full_queue_is_told_and_a_stream_holds_its_place(openrouter):
    with crowded(openrouter, 1, 1) as gateway, ExitStack() as streams, httpx.Client() as client:
        openrouter.script({"text": "never ends", "fault": "stall", "after": 4})
        body = {"model": "big", **ASK, "stream": True}
        first = streams.enter_context(client.stream("POST", f"{gateway.url}/v1/messages", json=body))
        assert first.status_code == 200
        waiting: list[httpx.Response] = []
        second = threading.Thread(target=lambda: waiting.append(post(gateway, "big")))
        second.start()
        until(lambda: health_of(gateway)["waiting"] == 1)
        over = post(gateway, "big")
        assert (over.status_code, over.headers["retry-after"]) == (529, "1")
        assert health_of(gateway)["running"] == 1
        first.close()
        second.join()
        assert waiting[0].status_code == 200
        until(lambda: health_of(gateway)["running"] == 0)
        assert health_of(gateway)["state"] == "closed"
    assert len(openrouter.requests("messages")) == 2


def test_a_client_that_leaves_the_queue_frees_it(openrouter):
    with crowded(openrouter, 1, 1) as gateway:
        openrouter.script({"text": "Slow.", "first_delay": 6})
        first = threading.Thread(target=post, args=(gateway, "big"))
        first.start()
        until(lambda: health_of(gateway)["running"] == 1)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{gateway.url}/v1/messages", json={"model": "big", **ASK}, timeout=0.3)
        until(lambda: health_of(gateway)["waiting"] == 0)
        assert post(gateway, "big").status_code == 200  # it waits for the first one
        first.join()
        until(lambda: health_of(gateway)["running"] == 0)
    assert len(openrouter.requests()) == 2


@pytest.fixture(scope="module")
def narrow(openrouter_process):
    """A gateway with one place at its backend, and none to wait in."""
    with crowded(openrouter_process, 1, 0) as gateway:
        yield gateway


@pytest.mark.parametrize(
    "fault", ["reset_before_headers", "reset_after_headers", "reset", "empty", "truncate"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_no_place_is_lost(narrow, openrouter, fault, stream):
    openrouter.script({"text": "word " * 20, "fault": fault, "after": 3, "times": 3}, {"text": "Fine."})
    post(narrow, "big", stream=stream)
    until(lambda: health_of(narrow)["running"] == 0)
    assert post(narrow, "big").status_code == 200


def test_a_full_backend_is_passed_by(openrouter, backends):
    with crowded_with_fallback(openrouter, backends) as gateway:
        openrouter.script({"text": "Slow.", "first_delay": 6})
        first = threading.Thread(target=post, args=(gateway, "big"))
        first.start()
        until(lambda: health_of(gateway)["running"] == 1)
        assert post(gateway, "big").headers["x-headgate-backend"] == "databricks"
        first.join()


def crowded_with_fallback(openrouter, backends):
    return gateway_on(
        openrouter, HEADGATE_BACKEND_CONCURRENCY="1", HEADGATE_BACKEND_QUEUE="0",
        HEADGATE_FALLBACKS='{"big": "databricks:claude-sonnet-4"}', **backends.databricks, **PATIENT,
    )  # fmt: skip
