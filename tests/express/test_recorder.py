"""The recorder in this process, between real sockets and a real Prefect server with faults before it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from express import Run
from express.recorder import Allowance, SocketSink, __main__, frames, recorder_stats, sink
from express.recorder.intake import Intake
from express.recorder.process import Recorder, serve_until_told
from express.recorder.server import Mark, PrefectApi, Refused
from tests.express.recording import Door, messages, named, recorded, until
from wire.errors import Overloaded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.express.conftest import PrefectReader


async def test_a_run_shows_on_the_server_as_it_happens(
    begin: Any, to: SocketSink, prefect: PrefectReader, path: Path
) -> None:
    recorder = await begin()
    run = named("shown", to, tags=["a"], parameters={"bytes": 12})
    await run.call(messages, object())
    relay = run.open_step("relay")
    begun = await prefect.flow_run(run.name, "Running")
    assert begun["parameters"] == {"bytes": 12}
    relay.close()
    run.log("a line for people")
    run.finish("completed", tags=["cache:hit"], summary={"tokens": 7})

    ended = await prefect.flow_run(run.name, "Completed")
    assert ended["id"] == begun["id"]
    assert ended["state"]["message"] == f"took {(run.end - run.start) / 1e9:.3f} s"
    tasks = await prefect.task_runs(ended["id"], 3)
    assert {name: task["feeds"] for name, task in tasks.items()} == {
        "convert-0": set(),
        "call_backend-0": {"convert-0"},
        "relay-0": {"call_backend-0"},
    }
    for record in run.steps:
        task = tasks[record.name]
        assert abs(task["total_run_time"] - (record.end - record.start) / 1e9) < 0.001
        assert task["state_name"] == "Completed"
    await recorded(recorder, 1)
    assert (await prefect.flow_run(run.name))["tags"] == ["a", "cache:hit"]
    artifact = await prefect.artifact(ended["id"])
    assert artifact["key"] == "request-summary"
    assert '{"what":"tokens","value":7}' in artifact["data"]
    (line,) = await prefect.logs(ended["id"], 1)
    assert (line["message"], line["level"], line["name"]) == ("a line for people", 20, "headgate.messages")
    counters = await recorder_stats(path)
    assert counters.pop("retries") >= 0  # a server on SQLite answers 503 now and then
    assert counters == {
        "received": 2, "recorded": 1, "running": 1, "sampled_out": 0, "dropped": 0, "crashed": 0,
        "refused": 0,
        "open": 0, "waiting": 0, "prefect": "up", "trouble": None,
    }  # fmt: skip


async def test_a_failure_is_shown_where_and_why(begin: Any, to: SocketSink, prefect: PrefectReader) -> None:
    await begin()
    run = named("failed", to)
    with pytest.raises(Overloaded) as caught:
        await run.call(messages, object(), Overloaded("come back later"))
    run.finish("failed", error=caught.value, tags=["error:ab12"])
    ended = await prefect.flow_run(run.name, "Failed")
    assert ended["state"]["message"] == "Overloaded: come back later"
    tasks = await prefect.task_runs(ended["id"], 2)
    assert {n: t["state_name"] for n, t in tasks.items()} == {
        "convert-0": "Completed",
        "call_backend-0": "Failed",
    }
    assert tasks["call_backend-0"]["state"]["message"] == "Overloaded: come back later"
    (line,) = await prefect.logs(ended["id"], 1)
    assert (line["level"], line["message"]) == (40, "Overloaded: come back later")
    artifact = await prefect.artifact(ended["id"])
    assert "come back later" in artifact["data"]


async def test_a_cancelled_run_without_steps(begin: Any, to: SocketSink, prefect: PrefectReader) -> None:
    recorder = await begin()
    run = named("left", to)
    run.finish("cancelled")
    ended = await prefect.flow_run(run.name, "Cancelled")
    await recorded(recorder, 1)
    assert await prefect.of_run("task_runs", ended["id"]) == []


async def test_trouble_is_waited_out(begin: Any, to: SocketSink, door: Door, prefect: PrefectReader) -> None:
    door.answers = [503, 0, 429, 408]
    recorder = await begin(door.url)
    run = named("patient", to)
    run.begin()
    await prefect.flow_run(run.name, "Running")
    door.answers, door.retry_after = [503, 503], "0"
    run.finish("completed")
    await prefect.flow_run(run.name, "Completed")
    await recorded(recorder, 1)
    assert recorder.intake.counters["retries"] >= 6
    assert recorder.stats()["prefect"] == "up"


async def test_a_run_created_twice_is_one_run(
    begin: Any, to: SocketSink, door: Door, prefect: PrefectReader
) -> None:
    recorder = await begin(door.url)
    run = named("twice", to)
    run.begin()
    await until(lambda: recorder.intake.counters["running"])
    (entry,) = recorder.intake.open.values()
    again = await recorder.api.create(frames.orjson.loads(frames.start_body(run)), entry.key.hex())
    assert again == entry.flow_run_id
    assert door.seen.count("POST /flows/") == 1


async def test_a_server_that_is_not_there_yet(
    begin: Any, to: SocketSink, door: Door, prefect: PrefectReader
) -> None:
    recorder = await begin("http://127.0.0.1:9/api")
    run = named("early", to)
    run.finish("completed")
    await until(lambda: recorder.intake.counters["retries"] >= 2)
    assert recorder.stats()["prefect"] == "down"
    assert "Connect" in recorder.stats()["trouble"]
    recorder.api.url = door.url
    await prefect.flow_run(run.name, "Completed")


async def test_what_the_server_refuses_is_counted_and_let_go(
    begin: Any, to: SocketSink, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = await begin(door.url)
    door.answers = [422]
    run = named("refused", to)
    run.finish("completed")
    await until(lambda: recorder.intake.counters["refused"])
    assert (recorder.intake.open, recorder.intake.waiting) == ({}, 0)
    assert "Prefect refused a run: POST /flows/: HTTP 422" in capsys.readouterr().err


async def test_a_bare_end_is_enough_to_end_a_run(begin: Any, path: Path, prefect: PrefectReader) -> None:
    await begin()
    small = SocketSink(path, buffer_bytes=600)
    run = named("bare", small)
    await run.call(messages, object())
    await prefect.flow_run(run.name, "Running")
    run.finish("completed", summary={"text": "x" * 1000})
    await prefect.flow_run(run.name, "Completed")
    assert small.dropped == 1
    await small.close()


async def test_a_body_that_is_no_json_never_fails_the_request(
    begin: Any, to: SocketSink, prefect: PrefectReader
) -> None:
    await begin()
    odd = named("odd", to, parameters={"n": 2**70})
    odd.begin()
    assert to.dropped == 1
    run = named("half-odd", to)
    run.begin()
    await prefect.flow_run(run.name, "Running")
    run.finish("failed", summary={"n": 2**70})
    await prefect.flow_run(run.name, "Failed")
    assert to.dropped == 2


async def test_a_gateway_that_dies_leaves_crashed_runs(
    begin: Any, path: Path, prefect: PrefectReader
) -> None:
    recorder = await begin(intake=Intake(lease=0.05))
    dying = SocketSink(path)
    run = named("dying", dying)
    run.begin()
    await prefect.flow_run(run.name, "Running")
    await dying.close()
    ended = await prefect.flow_run(run.name, "Crashed")
    assert ended["state"]["message"].startswith("How this run ended is lost: the gateway or the recorder")
    assert recorder.intake.counters["crashed"] == 1


async def test_a_recorder_that_dies_is_succeeded(
    begin: Any, path: Path, to: SocketSink, prefect: PrefectReader
) -> None:
    first = await begin(intake=Intake(lease=60), flush_seconds=0.0)
    goes_on, lost = named("goes-on", to), named("lost", to)
    goes_on.begin()
    lost.begin()
    await prefect.flow_run(goes_on.name, "Running")
    await prefect.flow_run(lost.name, "Running")
    await until(lambda: len(first.journal.runs) == 2)
    left = dict(first.journal.runs)
    first.intake.expire = lambda: None  # it dies: nothing is said of its runs
    first.stopping.set()
    await until(lambda: not to.connected)
    to._open.discard(lost.id.bytes)  # its end was on the way when the recorder died
    second = await begin(intake=Intake(lease=60))
    assert second.journal.runs == left
    await prefect.flow_run(lost.name, "Crashed")
    goes_on.finish("completed")
    await prefect.flow_run(goes_on.name, "Completed")
    await recorded(second, 2)
    assert second.journal.runs == {}


async def test_a_sink_keeps_what_fits_while_nobody_listens(
    begin: Any, path: Path, prefect: PrefectReader
) -> None:
    early = SocketSink(path, buffer_bytes=2000)
    runs = [named(f"early-{k}", early) for k in range(20)]
    for run in runs:
        run.finish("completed")
    assert 0 < early.dropped < 40
    assert not early.connected
    await begin()
    await prefect.flow_run(runs[0].name, "Completed")
    await early.close()


async def test_a_sink_with_too_many_runs_open_begins_no_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "OPEN_RUNS", 1)
    to = SocketSink(path)
    for k in range(3):
        named(f"open-{k}", to).begin()
    assert len(to._frames) == 1
    await to.close(within=0.01)


async def test_of_many_runs_a_sink_sends_some_and_counts_the_others(begin: Any, path: Path) -> None:
    recorder = await begin(api="http://127.0.0.1:1/api")
    to = SocketSink(path, allowance=Allowance(2, 0))
    runs = [named(f"run-{n}", to) for n in range(5)]
    kept = Run("messages", name="kept", sink=to, keep=True)
    for run in [*runs, kept]:
        run.begin()
    for run in runs[:4]:
        run.finish("completed")
    runs[4].finish("failed", error=Overloaded("no room"))
    kept.finish("completed")
    await until(lambda: recorder.stats()["sampled_out"] == 2)
    # two that were allowed and the one to be kept, start and end each; of the failed one, its end
    await until(lambda: recorder.stats()["received"] == 7)
    await to.close()


async def test_a_sink_that_sent_nothing_still_counts(begin: Any, path: Path) -> None:
    recorder = await begin(api="http://127.0.0.1:1/api")
    to = SocketSink(path, allowance=Allowance(0, 0))
    for _ in range(2):
        named("left-out", to).finish("completed")
    await until(lambda: recorder.stats()["sampled_out"] == 2)
    assert recorder.stats()["received"] == 0
    await to.close()


async def test_a_sink_waits_for_a_slow_reader(path: Path) -> None:
    got, gate = bytearray(), asyncio.Event()

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        while data := await reader.read(65536):
            got.extend(data)
        writer.close()

    server = await asyncio.start_unix_server(read, str(path), limit=1000)
    to = SocketSink(path)
    runs = [named(f"slow-{k}", to, parameters={"text": "x" * 10_000}) for k in range(200)]
    for run in runs:
        run.begin()
        await asyncio.sleep(0.0005)
    await until(lambda: to._paused)
    gate.set()
    await until(lambda: not to._paused and not to._frames)
    await to.close()
    await until(lambda: to._transport is None)
    frames_got = frames.FrameDecoder().feed(bytes(got))
    starts = [f.owner for f in frames_got if f.kind == frames.START]
    assert len(starts) == len(runs) - to.dropped
    server.close()
    await server.wait_closed()


async def test_without_an_event_loop_a_run_goes_on_unrecorded(path: Path) -> None:
    to = SocketSink(path)

    def alone() -> None:
        run = named("alone", to)
        run.begin()
        run.finish("completed")

    await asyncio.to_thread(alone)
    assert to.dropped == 2


async def test_what_is_no_frame_is_hung_up_on(
    begin: Any, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await begin()
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"GET / HTTP/1.1\r\n" * 10)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    assert "a connection was closed" in capsys.readouterr().err
    # a run without a hello before it belongs to nobody
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(frames.encode(frames.START, bytes(16), b"{}") + frames.encode(frames.STATS, bytes(16), b""))
    assert frames.FrameDecoder().feed(await reader.read(65536))[0].kind == frames.STATS
    writer.close()
    assert (await recorder_stats(path))["received"] == 0


async def test_counters_of_a_recorder_that_is_not_there(path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await recorder_stats(path)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.close()

    server = await asyncio.start_unix_server(hang_up, str(path))
    with pytest.raises(ConnectionError, match="hung up"):
        await recorder_stats(path)
    server.close()
    await server.wait_closed()


async def test_counters_that_come_in_two_parts(path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = frames.encode(frames.STATS, bytes(16), b'{"received":1}')
        await reader.read(65536)
        writer.write(data[:9])
        await asyncio.sleep(0.05)
        writer.write(data[9:])
        writer.close()

    server = await asyncio.start_unix_server(answer, str(path))
    assert await recorder_stats(path) == {"received": 1}
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        ({}, None),
        ({"PREFECT_API_KEY": "pnu_1"}, "Bearer pnu_1"),
        ({"PREFECT_API_AUTH_STRING": "a:b"}, "Basic YTpi"),
    ],
)
async def test_the_settings_that_prefect_knows_are_used(
    door: Door, environment: dict[str, str], sent: str | None
) -> None:
    async with PrefectApi(door.url, {"retries": 0}, environment) as api:
        assert await api.call("POST", "/flows/", {"name": "who"})
        with pytest.raises(Refused):
            await api.call("POST", "/nowhere", {})
    assert door.authorization == sent


async def test_the_api_is_used_while_it_is_open(door: Door) -> None:
    api = PrefectApi(door.url, {"retries": 0}, {})
    with pytest.raises(RuntimeError):
        await api.call("POST", "/flows/", {"name": "who"})
    await api.__aexit__()


async def test_it_ends_when_its_standard_input_does(path: Path, prefect: PrefectReader) -> None:
    ours, theirs = os.pipe()
    task = asyncio.create_task(serve_until_told(Recorder(path, prefect.api, environment={}), ours))
    await until(path.exists)
    os.write(theirs, b"still here")
    await asyncio.sleep(0.05)
    assert not task.done()
    os.close(theirs)
    await task
    os.close(ours)
    assert not path.exists()


async def test_it_ends_when_told_and_writes_what_it_has(
    path: Path, prefect: PrefectReader, tmp_path: Path
) -> None:
    recorder = Recorder(path, prefect.api, environment={})
    with (tmp_path / "nothing").open("w+") as plain_file:
        task = asyncio.create_task(serve_until_told(recorder, plain_file.fileno()))
        await until(path.exists)
        to = SocketSink(path)
        open_run, ended = named("open", to), named("ended", to)
        open_run.begin()
        ended.finish("completed")
        await until(lambda: to.connected and not to._frames)
        os.kill(os.getpid(), signal.SIGTERM)
        await task
    await to.close()
    await prefect.flow_run(ended.name, "Completed")
    await prefect.flow_run(open_run.name, "Crashed")
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_what_cannot_be_written_in_time_is_left(begin: Any, to: SocketSink) -> None:
    recorder = await begin("http://127.0.0.1:9/api", flush_seconds=0.2)
    named("never", to).finish("completed")
    await until(lambda: recorder.intake.counters["retries"])
    recorder.stopping.set()
    await until(lambda: not recorder.socket_path.exists())
    assert recorder.intake.waiting == 1


async def test_the_process_records_and_ends_with_its_parent(path: Path, prefect: PrefectReader) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "express.recorder", "--socket", str(path), "--api", prefect.api,
        stdin=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    await until(path.exists)
    to = SocketSink(path)
    run = named("process", to)
    await run.call(messages, object())
    run.finish("completed")
    await prefect.flow_run(run.name, "Completed")
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 15
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0
    await to.close()


def test_the_program_reads_its_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served: list[tuple[Path, str]] = []
    more: list[tuple[Mark | None, Path]] = []

    async def serve(recorder: Recorder) -> None:
        served.append((recorder.socket_path, recorder.api.url))
        more.append((recorder.api.mark, recorder.journal.path))

    monkeypatch.setattr(__main__, "serve_until_told", serve)
    monkeypatch.setattr(__main__, "NICENESS", 0)
    __main__.main(["--socket", str(tmp_path / "s"), "--api", "http://h/api/"])
    assert served == [(tmp_path / "s", "http://h/api")]
    assert more == [(None, tmp_path / "s.open")]
    # of the environment, where a password in it is not on the command line
    monkeypatch.setenv("PREFECT_API_URL", "http://me:secret@h/api")
    journal = str(tmp_path / "j.open")
    __main__.main(["--socket", str(tmp_path / "s"), "--mark", "x-mark=a=b", "--journal", journal])
    assert more[1] == (("x-mark", "a=b"), tmp_path / "j.open")
    assert served[1] == (tmp_path / "s", "http://me:secret@h/api")
    monkeypatch.delenv("PREFECT_API_URL")
    with pytest.raises(SystemExit):
        __main__.main(["--socket", str(tmp_path / "s")])
