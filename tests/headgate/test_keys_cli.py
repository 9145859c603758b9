"""`headgate keys` and `headgate usage`: what they take, print, and leave in the database."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from coordinators import usage_records
from coordinators.usage import COST, ESTIMATED, INPUT, REQUESTS, SIZE, Parcel
from coordinators.usage_store import UsageStore
from express import Run
from flows.maintenance import fold_usage
from headgate import maintenance
from headgate.cli import app
from headgate.settings import SettingsError, load_settings
from headgate.usage_parts import UsageFolding, check_binding
from tests.fakes.gateway import OURS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        if name.startswith((*OURS, "DATABASE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADGATE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def run(*words: str, **settings: str) -> Result:
    return CliRunner().invoke(app, [*words], env=settings)


def told(*words: str) -> Any:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def written(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())


# -- keys
@pytest.mark.parametrize(
    "words", [["keys"], *(["keys", one] for one in ("create", "list", "revoke", "delete"))]
)
def test_every_command_explains_itself(words: list[str]) -> None:
    done = run(*words, "--help")
    assert done.exit_code == 0
    assert "Usage" in done.stdout


def test_a_key_is_printed_once_and_only_its_digest_is_kept(data: Path) -> None:
    done = run("keys", "create", "alice")
    assert done.exit_code == 0
    key = done.stdout.strip()
    assert re.fullmatch(r"hg_[A-Za-z0-9_-]{43,}", key)
    assert "shown this once" in done.stderr
    assert key.encode() not in written(data)
    listed = run("keys", "list")
    assert "alice" in listed.stdout
    assert key not in listed.stdout
    assert (data / "headgate.db").stat().st_mode & 0o777 == 0o600


def test_limits_are_kept_and_listed() -> None:
    options = "--rpm 60 --tpm 90000 --daily-usd 2.5 --monthly-usd 40 --models claude-*,small --expires 30d"
    made = told("keys", "create", "alice", *options.split())
    (key,) = told("keys", "list")
    assert key["id"] == made["id"]
    assert (key["rpm"], key["tpm"], key["daily_usd"], key["monthly_usd"]) == (60, 90000, 2.5, 40)
    assert key["models"] == ["claude-*", "small"]
    assert timedelta(days=29) < datetime.fromtimestamp(key["expires_at"], UTC) - datetime.now(UTC)
    assert "digest" not in key
    shown = run("keys", "list").stdout
    for part in ("60 requests/min", "90,000 tokens/min", "$2.50/day", "$40.00/month", "claude-*, small"):
        assert part in shown.replace("\n", " ") or part.split()[0] in shown


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["x", "--rpm", "0"], "rpm"),
        (["x", "--daily-usd", "-1"], "daily-usd"),
        (["x", "--expires", "soon"], "no time"),
        (["x", "--expires", "2020-01-01"], "past"),
        ([" "], "NAME"),
        (["a\x1b[2J"], "NAME"),
        (["y" * 81], "NAME"),
    ],
)
def test_what_is_asked_wrongly_makes_no_key(options: list[str], why: str, data: Path) -> None:
    done = run("keys", "create", *options)
    assert done.exit_code == 2
    assert why in done.output
    assert not data.exists()


def test_a_name_is_one_key_s_until_it_is_revoked() -> None:
    told("keys", "create", "alice")
    again = run("keys", "create", "alice")
    assert again.exit_code == 2
    assert "revoke it" in again.output
    assert run("keys", "revoke", "alice").exit_code == 0
    assert run("keys", "revoke", "alice").exit_code == 1
    told("keys", "create", "alice")
    assert [key["state"] for key in told("keys", "list")] == ["valid"]
    assert sorted(key["state"] for key in told("keys", "list", "--all")) == ["revoked", "valid"]


def test_a_key_is_revoked_by_id_and_deleted_only_then() -> None:
    made = told("keys", "create", "alice")
    assert run("keys", "delete", "alice").exit_code == 1
    assert run("keys", "revoke", made["id"]).exit_code == 0
    assert "1 revoked" in run("keys", "list").stdout
    assert run("keys", "delete", made["id"]).exit_code == 0
    assert told("keys", "list", "--all") == []


def test_without_a_store_there_is_nothing_and_none_is_made(data: Path) -> None:
    assert told("keys", "list") == []
    assert told("usage")["rows"] == []
    assert "Nothing was used" in run("usage").stdout
    assert not data.exists()


def test_a_database_that_is_damaged_is_told(data: Path) -> None:
    data.mkdir()
    (data / "headgate.db").write_bytes(b"no database, " * 1000)
    for words in (["keys", "list"], ["keys", "create", "x"], ["usage"]):
        done = run(*words)
        assert done.exit_code == 1
        assert "damaged" in done.output


async def test_a_stored_key_opens_other_addresses(data: Path) -> None:
    settings = load_settings(host="0.0.0.0")
    with pytest.raises(SettingsError, match="headgate keys create"):
        await check_binding(settings)
    await asyncio.to_thread(run, "keys", "create", "alice")
    await check_binding(settings)
    (data / "client_keys_exist").unlink()
    await check_binding(settings)


# -- usage
def fill(data: Path, rows: dict[tuple[str, str, str, str, str], list[float]]) -> None:
    async def stored() -> None:
        store = UsageStore(f"sqlite:///{data / 'headgate.db'}")
        await store.exchange(Parcel(1, rows, {}), [], None)
        await store.close()

    asyncio.run(stored())


def day(ago: int) -> str:
    today = datetime.now(UTC).date()  # it may be another one than when the tests were collected
    return (today - timedelta(days=ago)).isoformat()


def sums(requests: int, cost: float, estimated: float = 0.0, tokens: int = 1000) -> list[float]:
    made: list[float] = [0] * SIZE
    made[REQUESTS], made[INPUT], made[COST], made[ESTIMATED] = requests, tokens, cost, estimated
    return made


@pytest.fixture
def filled(data: Path) -> Path:
    made = told("keys", "create", "alice")
    fill(
        data,
        {
            (day(0), made["id"], "claude-opus-4-6", "openrouter", "s1"): sums(2, 1.0),
            (day(1), made["id"], "claude-haiku-4-5", "anthropic", "s1"): sums(5, 0.25, 0.25),
            (day(1), "anyone", "claude-haiku-4-5", "anthropic", ""): sums(1, 0.125),
            (day(40), "anyone", "=cmd|' /C calc'!A0", "anthropic", "s2"): sums(9, 3.0),
        },
    )
    return data


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("model", [("claude-opus-4-6", 2), ("claude-haiku-4-5", 6)]),
        ("key", [("alice", 7), ("(no key)", 1)]),
        ("session", [("s1", 7), ("", 1)]),
        ("backend", [("openrouter", 2), ("anthropic", 6)]),
    ],
)
def test_usage_is_summed_up(filled: Path, by: str, expected: list[tuple[str, int]]) -> None:
    answer = told("usage", "--by", by)
    assert [(row[by], row["requests"]) for row in answer["rows"]] == expected
    assert answer["total"]["requests"] == 8
    assert answer["total"]["cost"] == pytest.approx(1.375)


def test_usage_is_summed_up_by_day(filled: Path) -> None:
    rows = told("usage", "--by", "day")["rows"]
    assert [(row["day"], row["requests"]) for row in rows] == [(day(1), 6), (day(0), 2)]


def test_several_dimensions_at_once(filled: Path) -> None:
    rows = told("usage", "--by", "day,key")["rows"]
    assert [(row["day"], row["key"]) for row in rows] == [
        (day(1), "alice"), (day(1), "(no key)"), (day(0), "alice"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        (["--since", "all"], 17),
        (["--since", "7d"], 8),
        (["--since", "DAY 1", "--until", "1d"], 6),
        (["--since", "DAY 0"], 2),
    ],
)
def test_days_are_chosen(filled: Path, options: list[str], requests: int) -> None:
    given = [day(int(one.removeprefix("DAY "))) if one.startswith("DAY ") else one for one in options]
    assert told("usage", *given)["total"]["requests"] == requests


def test_csv_is_read_by_programs_and_runs_in_none(filled: Path) -> None:
    done = run("usage", "--by", "model", "--since", "all", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 3
    assert sum(float(row["cost"]) for row in rows) == pytest.approx(4.375)
    assert not any(row["model"].startswith("=") for row in rows)


def test_the_table_has_totals_and_marks_estimates(filled: Path) -> None:
    shown = run("usage").stdout
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert "~$0.3750" in lines["claude-haiku-4-5"]
    assert "$1.0000" in lines["claude-opus-4-6"]
    assert "~" not in lines["claude-opus-4-6"]
    assert "~$1.3750" in lines["total"]
    assert "3,000" in lines["total"]


@pytest.mark.parametrize(
    "options", [["--by", "colour"], ["--by", "day,day"], ["--since", "x"], ["--csv", "--json"]]
)
def test_what_is_asked_wrongly_is_told(options: list[str]) -> None:
    assert run("usage", *options).exit_code == 2


async def test_maintenance_sums_sessions_up(data: Path) -> None:
    settings = load_settings()
    assert await UsageFolding(settings).fold() == 0
    assert not data.exists()
    await asyncio.to_thread(fill, data, {(day(40), "t", "m", "b", one): sums(1, 1.0) for one in "xy"})
    told = await Run("fold_usage", name="now").call(fold_usage, UsageFolding(settings))
    assert told == "2 rows of sessions summed up by day"
    assert await maintenance.fold(UsageFolding(settings))
    store = UsageStore(f"sqlite:///{data / 'headgate.db'}")
    (row,) = await store.read(usage_records.report, ["session"])
    await store.close()
    assert (row["session"], row["requests"], row["cost"]) == ("", 2, 2.0)
