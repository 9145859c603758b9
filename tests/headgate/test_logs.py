"""Log lines: JSON or readable, with the ids of their request, without what an exception or a secret holds."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from contextvars import Context, copy_context
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import pytest
import structlog

from coordinators.current import current_exchange, current_names, enter
from coordinators.error_log import message_of
from coordinators.runs import FlowRuns
from coordinators.scrubbing import MASK, Scrubber
from express.origins import origin_of
from flows.messages import messages
from headgate.log_lines import Mask, Others, add_request, adopt_loggers, tell_exception
from headgate.logs import BatchingLogger
from tasks.exchange import Exchange
from tests.fakes.gateway import OURS
from wire.errors import Overloaded

RUN = UUID(int=7)


def in_a_process(code: str, *arguments: str) -> str:
    """Run code in a process of its own, with logs configured; give what it wrote on standard error."""
    start = (
        "import logging, structlog\nfrom headgate.logs import configure_logs\n"
        "from coordinators.scrubbing import Scrubber\n"
        "configure_logs('info', Scrubber(['the-configured-key']))\n"
    )
    done = subprocess.run(
        [sys.executable, *arguments, "-c", start + code],
        env={k: v for k, v in os.environ.items() if not k.startswith(OURS)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stderr


def test_everything_is_json_and_masked():
    told = in_a_process(
        "structlog.get_logger('x').info('ours', key='the-configured-key', n=1)\n"
        "logging.getLogger('uvicorn.error').error('theirs with %s', 'Bearer abcdefgh12345')\n"
        "logging.getLogger('uvicorn.error').info('too low')\n"
        "structlog.get_logger('x').debug('too low')\n"
    )
    ours, theirs = map(json.loads, told.splitlines())
    assert ours | {"timestamp": ""} == {
        "event": "ours",
        "key": MASK,
        "level": "info",
        "n": 1,
        "timestamp": "",
    }
    assert theirs["event"] == f"theirs with Bearer {MASK}"
    assert (theirs["logger"], theirs["level"]) == ("uvicorn.error", "error")


def test_prefects_and_litellms_lines_are_ours():
    told = in_a_process(
        "import prefect\nfrom headgate.log_lines import adopt_loggers\nadopt_loggers(logging.WARNING)\n"
        "from coordinators.litellm_calls import _import\n_import()\n"
        "for name in ('prefect', 'prefect.flow_runs', 'LiteLLM', 'uvicorn', 'fastapi'):\n"
        "    logging.getLogger(name).setLevel('WARNING')\n"
        "    logging.getLogger(name).warning('said with dapi' + '0' * 32)\n"
    )
    lines = [json.loads(line) for line in told.splitlines()]
    assert [line["logger"] for line in lines] == [
        "prefect", "prefect.flow_runs", "LiteLLM", "uvicorn", "fastapi",
    ]  # fmt: skip
    assert all(line["event"] in {f"said with {MASK}", "said with REDACTED"} for line in lines)


def test_a_terminal_gets_readable_lines_with_the_same_masks():
    import pty

    master, slave = pty.openpty()
    code = (
        "import structlog\nfrom headgate.logs import configure_logs\nconfigure_logs('info')\n"
        "structlog.get_logger().warning('readable', token='abc', n=1)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=slave) as process:
        process.wait(30)
    os.close(slave)
    told = os.read(master, 4096).decode()
    os.close(master)
    assert "readable" in told
    assert "abc" not in told
    assert not told.startswith("{")


async def test_lines_below_a_request_know_it():
    enter(Exchange("req_1", {"x-claude-code-session-id": "s-1"}, b"{}"), RUN, "messages-req_1")
    event = add_request(None, "info", {"event": "x", "run": "told already"})
    assert event == {
        "event": "x", "request_id": "req_1", "session": "s-1", "run": "told already", "run_id": str(RUN),
    }  # fmt: skip


def test_lines_outside_of_one_do_not():
    assert Context().run(current_names) == {}


async def test_lines_after_its_end_do_not_either():
    """What a request opened keeps its context: a connection in a pool, for hours."""
    runs = FlowRuns("express", None)
    exchange = Exchange("req_1", {}, b"the whole of a large request")
    run = runs.open(messages, exchange, "backend")
    kept = copy_context()
    assert kept.run(current_names)["request_id"] == "req_1"
    run.complete({})
    assert kept.run(current_names) == {}
    assert kept.run(current_exchange) is None
    quoting = Overloaded("no room for the whole of a large request")
    assert kept.run(message_of, quoting) is None
    assert message_of(quoting, exchange) == "no room for […]"


def fail():
    value = "the prompt of somebody"
    raise ValueError(f"cannot read {value}")


def caught():
    try:
        try:
            fail()
        except ValueError as error:
            raise Overloaded("no room") from error
    except Overloaded as error:
        return error


@pytest.mark.parametrize("form", ["error", "tuple", "current"])
def test_an_exception_is_told_by_its_places_without_what_it_quotes(form):
    error = caught()
    if form == "current":
        try:
            raise error
        except Overloaded:
            event = tell_exception(None, "error", {"event": "x", "exc_info": True})
    else:
        given = error if form == "error" else (type(error), error, error.__traceback__)
        event = tell_exception(None, "error", {"event": "x", "exc_info": given})
    assert "prompt of somebody" not in event["exception"]
    assert "ValueError\nled to\n" in event["exception"]
    assert event["exception"].endswith("Overloaded: no room")
    assert "headgate/test_logs.py" in event["exception"]
    assert event["error_hash"] == origin_of(error).hash


@pytest.mark.parametrize("nothing", [None, False, True, (None, None, None)])
def test_no_exception_is_no_exception(nothing):
    assert tell_exception(None, "error", {"event": "x", "exc_info": nothing}) == {"event": "x"}


def test_the_ids_of_our_own_are_not_looked_at():
    mask = Mask(Scrubber())
    assert mask(None, "info", {"request_id": "sk-0123456789"}) == {"request_id": "sk-0123456789"}


def test_what_libraries_log_with_an_exception_is_noted(capsys):
    class Noted:
        errors: ClassVar[list] = []

        def note(self, error, **facts):
            self.errors.append((error, facts))
            return "0" * 12

    handler, error = Others(), caught()
    handler.errors = Noted()
    record = logging.LogRecord("uvicorn.error", 40, "", 1, "it %s", ("broke",), (type(error), error, None))
    handler.emit(record)
    handler.emit(logging.LogRecord("x", 40, "", 1, "nothing", (), None))
    assert Noted.errors == [(error, {"crashed": True, "logger": "uvicorn.error"})]


def test_handlers_that_send_elsewhere_stay():
    class Elsewhere(logging.Handler):
        pass

    logger, root = logging.getLogger("prefect.made_for_this_test"), logging.getLogger()
    before, level = root.handlers, root.level
    elsewhere = Elsewhere()
    logger.handlers = [logging.StreamHandler(), elsewhere]
    logger.propagate = False
    try:
        adopt_loggers(logging.WARNING)
        assert logger.handlers == [elsewhere]
        assert logger.propagate
    finally:
        root.handlers, root.level = before, level
        logger.handlers = []


def test_a_full_disk_loses_lines_only():
    with Path("/dev/full").open("wb", buffering=0) as full:
        logger = BatchingLogger(full)
        logger.warning(b"lost")
        logger.info(b"lost too")
    assert logger.lost == 2


@pytest.fixture(autouse=True)
def _structlog_as_it_was():
    yield
    structlog.reset_defaults()
