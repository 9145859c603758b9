"""What tests of `headgate batch` share: running it, and files of requests."""

from __future__ import annotations

import itertools
import json
import os
import pty
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner, Result

from headgate.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


NOWHERE = "http://127.0.0.1:9"
_numbers = itertools.count()


def run(*words: str, typed: str | bytes | None = None, **settings: str) -> Result:
    return CliRunner().invoke(app, ["batch", *words], input=typed, env=settings)


def told(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def asked(text: str = "Hi", **changed: Any) -> dict[str, Any]:
    said = f"{text} {next(_numbers)}"
    return {
        "model": "claude-opus-4-6",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": said}],
    } | changed


def a_file(tmp_path: Path, name: str = "requests.jsonl", /, **requests: dict[str, Any]) -> str:
    path = tmp_path / name
    lines = (json.dumps({"custom_id": one, "params": params}) for one, params in requests.items())
    path.write_text("\n".join(lines))
    return str(path)


def many(count: int, **changed: Any) -> dict[str, dict[str, Any]]:
    return {f"r{number}": asked(**changed) for number in range(count)}


@contextmanager
def at_terminal(tmp_path: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "headgate", "batch", *words], stdout=subprocess.PIPE, stderr=theirs,
        cwd=tmp_path,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "140"},
    ) as process:  # fmt: skip
        os.close(theirs)
        with closing(os.fdopen(ours, "rb", buffering=0)) as screen:
            try:
                yield process, screen
            finally:
                process.kill()


def read_until(screen: Any, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        seen += screen.read(4096)
    return seen


def read_rest(screen: Any) -> bytes:
    rest = b""
    try:
        while more := screen.read(4096):
            rest += more
    except OSError:  # what a terminal says that nobody holds any more
        pass
    return rest
