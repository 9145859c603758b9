"""Mistakes planted in a real server: Python runs this in every process that has this folder in PYTHONPATH.

Requests for the models of `CRASHES` meet them while they are validated: errors whose texts quote the prompt
and a key, which is what careless code and careless libraries do. Where PLANTED_IN_BATCHES is set, steps of
batches fail once as well.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import signal
import sys
import threading
from typing import Any

QUOTED = ("OPENROUTER_API_KEYS", "MISTRAL_API_KEY", "AWS_SECRET_ACCESS_KEY")


def raised(error: BaseException) -> None:
    raise error


def raise_in_chain(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise RuntimeError(text) from error


def raise_in_task(text: str) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError(text)

    planted = asyncio.get_running_loop().create_task(fail(), name="planted")
    del planted  # nobody awaits it: the loop is told when it is collected


def raise_in_thread(text: str) -> None:
    thread = threading.Thread(target=raised, args=(ValueError(text),), name="planted")
    thread.start()
    thread.join()


def raise_in_callback(text: str) -> None:
    asyncio.get_running_loop().call_soon(raised, ValueError(text))


def log_with_error(text: str) -> None:
    try:
        raise ValueError(text)  # noqa: TRY301 - this is how libraries do it
    except ValueError:
        logging.getLogger("aiohttp.planted").exception("a library failed")


def end_by_signal(_: str) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


class Uncaught(BaseException):
    """An error that stops the event loop, and with it the process."""


def end_by_error(text: str) -> None:
    asyncio.get_running_loop().call_soon(raised, Uncaught(text))


CRASHES = {
    "value-error": lambda text: raised(ValueError(text)),
    "key-error": lambda text: raised(KeyError(text)),
    "unicode-error": lambda text: raised(UnicodeDecodeError("utf-8", text.encode(), 0, 9, text)),
    "os-error": lambda text: raised(FileNotFoundError(2, "No such file or directory", text)),
    "group": lambda text: raised(ExceptionGroup(text, [ValueError(text), KeyError(text)])),
    "chain": raise_in_chain,
    "task": raise_in_task,
    "thread": raise_in_thread,
    "callback": raise_in_callback,
    "log": log_with_error,
    "exit": end_by_error,
    "signal": end_by_signal,
}


def plant(module: Any) -> None:
    """Have the validating step meet the mistake that a request's model names."""
    usual = module.validate_request.fn

    def validate_request(exchange: Any) -> Any:
        kind, _, name = exchange.model.partition("/")
        if kind == "crash":
            keys = " ".join(os.environ.get(variable, "") for variable in QUOTED)
            CRASHES[name](f"{keys} in {exchange.raw.decode()}")
        return usual(exchange)

    module.validate_request.fn = validate_request


class Planted(Exception):
    """A failure that nobody expects; its text quotes what a careless library's would."""


def plant_in_batches(module: Any) -> None:
    """Have each of these steps of a batch fail in its own code when it is first called; the batch goes on."""
    for name in ("open_chunks", "close_batch"):
        step = getattr(module, name)
        step.fn = once_failing(step.fn)


def once_failing(usual: Any) -> Any:
    failed: list[bool] = []

    async def once(*args: Any, **kwargs: Any) -> Any:
        if not failed:
            failed.append(True)
            raise Planted("A secret prompt")
        return await usual(*args, **kwargs)

    own = usual.__code__
    once.__code__ = once.__code__.replace(
        co_filename=own.co_filename,
        co_firstlineno=own.co_firstlineno,
        co_name=own.co_name,
        co_qualname=own.co_qualname,
    )
    return once


PLANTS = {"tasks.validate": plant}
if "PLANTED_IN_BATCHES" in os.environ:
    PLANTS["tasks.execute_batch"] = plant_in_batches


class Finder:
    """Plants once the module is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if (planting := PLANTS.pop(name, None)) is None:
            return None
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        usual = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            usual(module)
            planting(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
