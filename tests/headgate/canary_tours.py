"""The paths around the requests: batches, the cache, pages, commands, Prefect; and the list of all paths."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from headgate.settings import SettingsError, load_settings
from tests.headgate import canary_paths as paths
from tests.headgate.canary_paths import ANSWER, CHAT, MESSAGES, QUOTED, post, quoting, reply, request
from tests.headgate.canary_world import CONTENT, World

# ---- batches


def batches(world: World) -> None:
    """Batches made over HTTP and by the command, with requests that succeed, fail and are refused."""
    refused = quoting(world, "OPENROUTER_API_KEYS")
    world.openrouter.script(
        {"when": {"model": "failing"}, "status": 400, "message": refused, "times": 0},
        reply(world),
        lenient=True,
    )  # fmt: skip
    lines = [
        {"custom_id": f"{n}", "params": request(world, model)}
        for n, model in enumerate(
            [CHAT, MESSAGES, "openai/failing", "anthropic/failing", "crash/value-error"]
        )
    ]
    lines.append({"custom_id": "bad", "params": request(world, CHAT, max_tokens=world.sent["wrong field"])})
    made = [post(world, {"requests": lines}, "/v1/messages/batches").json()["id"]]
    file = world.folder / "batch.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    mine = {"HEADGATE_CLIENT_KEY": world.sent["HEADGATE_API_KEYS"]}  # a batch is seen by who made it
    told = world.run("batch", "submit", str(file), **mine)
    made += re.findall(r"msgbatch_\w+", told)[:1]
    assert len(made) == 2, told
    for one in made:
        world.wait(lambda one=one: status_of(world, one) == "ended", "the batch has ended", 240)
        for page in ("", "/progress"):
            world.ask("GET", f"/v1/messages/batches/{one}{page}", may=QUOTED)
        world.ask("GET", f"/v1/messages/batches/{one}/results", may=ANSWER | QUOTED | {"wrong field"})
        key = {"artifacts": {"key": {"any_": [f"failures-{one.lower().replace('_', '-')}"]}}}
        world.wait(lambda key=key: asked(prefect_url(world), "artifacts", **key), "its failures shown", 240)
    world.ask("GET", "/v1/messages/batches")
    world.run("batch", "status", made[0], may=QUOTED, **mine)
    world.ask("DELETE", f"/v1/messages/batches/{made[0]}")
    cancelled = post(world, {"requests": lines}, "/v1/messages/batches").json()["id"]
    world.ask("POST", f"/v1/messages/batches/{cancelled}/cancel")


def status_of(world: World, batch: str) -> str:
    told = httpx.get(f"{world.gateway.url}/v1/messages/batches/{batch}", headers=world.keys).json()
    return str(told.get("processing_status"))


# ---- the cache


def cache(world: World) -> None:
    """What is stored and what is answered from it, whole and streamed."""
    world.openrouter.script(reply(world), lenient=True)
    on = {"x-headgate-cache": "on"}
    for body in (request(world, CHAT), request(world, MESSAGES), request(world, CHAT, stream=True)):
        ask = partial(world.ask, "POST", "/v1/messages", body, may=ANSWER, headers=world.keys | on)
        ask()
        world.wait(lambda ask=ask: is_hit(ask()), "it is in the cache")  # storing comes after the answer
    hits = [one for one in world.answers if b"x-headgate-cache: hit" in one.data]
    assert len(hits) > 3, "not all came from the cache"
    post(world, {"requests": [request(world, MESSAGES)]}, "/v1/cache/warm")
    post(world, request(world, CHAT), "/v1/cache/test")
    for page in ("health", "stats", "configuration", "entries"):
        world.ask("GET", f"/v1/cache/{page}")
    world.run("cache", "entries")
    post(world, {"model": CHAT}, "/v1/cache/invalidate")


def is_hit(answer: httpx.Response | None) -> bool:
    return answer is not None and answer.headers.get("x-headgate-cache") == "hit"


# ---- what shows


def pages(world: World) -> None:
    """Everything that a person or a monitor can look at."""
    for page in (
        "/", "/health", "/health/ready", "/health/detailed", "/health/claude-code", "/metrics",
        "/tool-metrics",
        "/overview", "/debug/errors/registry?limit=500", "/debug/errors/enhanced/stats",
        "/debug/server/instance",
        "/debug/errors/search?limit=1000", "/v1/models", "/v1/universal/providers", "/v1/universal/health",
    ):  # fmt: skip
        world.ask("GET", page)
    world.ask("GET", "/overview/events", leave_after=3000)
    found = world.ask("GET", "/debug/errors/search?limit=1000")
    assert found is not None
    hashes = {one["hash"] for one in found.json()["data"]}
    assert len(hashes) > 15, hashes
    for one in sorted(hashes)[:20]:
        world.ask("GET", f"/debug/errors/hash/{one}")


def commands(world: World) -> None:
    """The commands, with all the keys in their environment."""
    known = re.findall(r'"hash": "([0-9a-f]{12})"', world.run("errors", "list", "--json"))
    assert known
    for arguments in (
        ("errors", "show", known[0]), ("errors", "list"), ("doctor",), ("usage", "--by", "key,session,model"),
    ):  # fmt: skip
        world.run(*arguments)


def captures(world: World) -> None:
    """A request that was kept, encrypted with every other one: listed, looked at, run again."""
    world.openrouter.script(reply(world), lenient=True)
    kept = post(world, request(world, CHAT)).headers["request-id"]
    world.wait(lambda: kept in world.run("captures"), "the request is kept")
    shown = frozenset(CONTENT) | {"a piece"}  # of a picture, whose Base64 is cut into lines
    world.run("captures", kept, may=shown)
    told = world.run("replay", kept, may=shown)
    assert world.sent["answer"] in told, told


def made_keys(world: World) -> None:
    """A key that Headgate makes: printed once, nowhere else. From here on it is looked for as well."""
    told = world.run("keys", "create", "canary", "--json")
    key = json.loads(told.partition("\n\n")[0])["key"]
    world.answers.pop()  # the one place where it belongs
    world.canaries.others["a key that was made"] = key
    known = {"x-api-key": key}
    world.wait(
        lambda: httpx.get(f"{world.gateway.url}/v1/models", headers=known).status_code == 200, "the key"
    )
    world.openrouter.script(reply(world), lenient=True)
    world.ask("POST", "/v1/messages", request(world, CHAT), may=ANSWER, headers=known)
    world.ask("GET", "/metrics", headers=known)


def wrong_settings(world: World) -> None:
    """Secrets where they do not belong: the refusals of the settings name the variable, not what it has."""
    key = world.sent["OPENAI_API_KEY"]
    for name in ("OPENROUTER_BASE_URL", "HEADGATE_PORT", "HEADGATE_FALLBACKS", "HEADGATE_RUNS"):
        with pytest.raises(SettingsError) as refused:
            load_settings(**{name: key})
        world.keep(str(refused.value).encode())


# ---- Prefect


def prefect_url(world: World) -> str:
    told = httpx.get(f"{world.gateway.url}/health/detailed", headers=world.keys).json()
    return str(told["prefect"]["api_url"])


def prefect_comes_up(world: World) -> None:
    """The embedded Prefect server, which is started politely, is there before the first request."""
    api = prefect_url(world)
    world.wait(lambda: is_healthy(api), "Prefect is up")


def is_healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=30).status_code == 200
    except httpx.HTTPError:
        return False


LISTS = ("flows", "flow_runs", "task_runs", "logs", "artifacts", "deployments", "variables",
         "block_documents", "events", "automations", "concurrency_limits", "work_pools")  # fmt: skip


def prefect_records(world: World) -> None:
    """Everything that Prefect's API tells, once it has recorded much; the disk is searched for the rest."""
    api = prefect_url(world)
    enough = {"flow_runs": 40, "task_runs": 40, "artifacts": 10, "logs": 1}
    for kind, count in enough.items():
        world.wait(lambda kind=kind, count=count: len(asked(api, kind)) >= count, f"{count} {kind}")
    for kind in LISTS:
        everything(world, api, kind)
    for page in ("admin/settings", "admin/version"):
        kept(world, "GET", f"{api}/{page}")


def asked(api: str, kind: str, **filters: Any) -> Any:
    try:
        answer = httpx.post(f"{api}/{kind}/filter", json=filters, timeout=60)
    except httpx.HTTPError:  # it has much to write down
        return []
    return answer.json() if answer.status_code == 200 else []


def everything(world: World, api: str, kind: str) -> int:
    """Keep all pages of a list; gives how many entries there were."""
    if kind == "events":
        return all_events(world, api)
    count = 0
    while True:
        found = kept(world, "POST", f"{api}/{kind}/filter", {"limit": 200, "offset": count})
        count += len(found)
        if len(found) < 200:
            return count


def all_events(world: World, api: str) -> int:
    """Keep all pages of the events, of which each names the next; a page has 50 at most."""
    told = kept(world, "POST", f"{api}/events/filter", {"limit": 50})
    count = len(told["events"])
    while after := told["next_page"]:
        told = kept(world, "GET", after)
        count += len(told["events"])
    return count


def kept(world: World, method: str, address: str, body: Any = None) -> Any:
    """Keep what Prefect answers, and give it; a busy server is asked again."""

    def given() -> httpx.Response | None:
        try:
            answer = httpx.request(method, address, json=body)
        except httpx.HTTPError:
            return None
        world.keep(answer.content)
        assert answer.status_code == 200 or answer.status_code >= 500, (address, answer.text)
        return answer if answer.status_code == 200 else None

    return world.wait(given, address).json()


# ---- all of them, in order

PATHS: list[Callable[[World], None]] = [
    prefect_comes_up,
    batches,  # before Prefect has so much to record that it does not get on with a batch's run,
    captures,  # nor with a replay's
    paths.answers,
    paths.universal,
    cache,
    paths.refusals,
    paths.raw_bytes,
    paths.upstream_errors,
    paths.broken_answers,
    paths.leaving,
    paths.crashes,
    made_keys,
    wrong_settings,
    pages,
    commands,
    prefect_records,
]
