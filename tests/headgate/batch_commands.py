"""What tests of `headgate batch` share: running it, and files of requests."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner, Result

from headgate.cli import app

if TYPE_CHECKING:
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
