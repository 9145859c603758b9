"""A whole `headgate serve` whose every key, and every request's every text, is a canary."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from coordinators.prefect_server import free_port
from tests.fakes.gateway import GatewayProcess
from tests.fakes.handle import FakeBackends, FakeOpenRouter, FakeProviders
from tests.fakes.otlp_collector import Collector
from tests.headgate.canary_search import Canaries, Found, files_below, search_file

PLANTED = Path(__file__).parent / "planted"

# What each key looks like: some have a known form, some none, and must be masked because they are known.
KEYS = {
    "OPENROUTER_API_KEYS": "{}*2",
    "DATABRICKS_TOKEN": "dapi{}",
    "ANTHROPIC_API_KEY": "sk-ant-api03-{}",
    "OPENAI_COMPATIBLE_API_KEY": "{}",
    "OPENAI_API_KEY": "sk-proj-{}",
    "GEMINI_API_KEY": "AIza{}",
    "COHERE_API_KEY": "{}",
    "AZURE_API_KEY": "{}",
    "AWS_SECRET_ACCESS_KEY": "{}",
    "AWS_SESSION_TOKEN": "{}",
    "HEADGATE_API_KEYS": "client-{}",
    "HEADGATE_ADMIN_KEYS": "admin-{}",
    "HEADGATE_CLIENT_KEY": "own-{}",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-api-key={}",
    "HEADGATE_CAPTURE_KEY": "{}AAAAAAAAAAA",
}
IN_DOTENV = {"MISTRAL_API_KEY": "{}"}
"""A key that only the file `.env` in the server's folder has."""

SENT_SECRETS = ("wrong key", "other bearer", "cookie", "query", "proxy authorization", "address")
"""Secrets that clients send, and the password in an upstream's address."""

CONTENT = (
    "system", "user", "tool result", "tool description", "tool input", "image", "document", "user id",
    "thinking", "stop sequence", "wrong field", "answer", "answer's thinking", "answer's tool input",
    "name of a file",
)  # fmt: skip
ANSWER = frozenset({"answer", "answer's thinking", "answer's tool input"})
QUOTED = frozenset({"user", "system"})
"""What upstream errors quote, and their answers may: the client's own words, back to that client."""


@dataclass(frozen=True)
class Answer:
    """What a client, or the user of a command, was given; `may` names the content that belongs in it."""

    path: str
    data: bytes
    may: frozenset[str] = frozenset()


@dataclass
class World:
    """The server, its fakes, and what it answered. `path` names what is under way."""

    openrouter: FakeOpenRouter
    backends: FakeBackends
    providers: FakeProviders
    collector: Collector
    gateway: GatewayProcess = field(default_factory=GatewayProcess)
    canaries: Canaries = field(default_factory=Canaries)
    sent: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    path: str = ""
    statuses: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, form in {**KEYS, **IN_DOTENV}.items():
            self.sent[name] = self.canaries.make(name, form)
        for name in (*SENT_SECRETS, *CONTENT):
            self.sent[name] = self.canaries.make(name, "a {} b" if name in CONTENT else "{}")
        (self.folder / "tmp").mkdir()
        (self.folder / ".env").write_text(f"MISTRAL_API_KEY={self.sent['MISTRAL_API_KEY']}\n")
        self.gateway.environment |= self._environment()

    @property
    def folder(self) -> Path:
        """Where the server runs and writes: all of its folders are below."""
        return Path(self.gateway.folder.name)

    def _environment(self) -> dict[str, str]:
        """Every key there is, for the server and for the commands; and nothing that is slow."""
        return {
            **{k: v for k, v in self.providers.settings.items() if k not in IN_DOTENV},
            **self.backends.databricks,
            **self.backends.anthropic,
            **{name: self.sent[name] for name in KEYS},
            "HEADGATE_API_KEYS": f"{self.sent['HEADGATE_API_KEYS']},{self.sent['HEADGATE_CLIENT_KEY']}",
            "PROXY_BACKEND": "OPENROUTER",
            "OPENROUTER_BASE_URL": self.openrouter.base_url,
            **self.backends.compatible,
            "HEADGATE_ANTHROPIC_URL": f"http://someone:{self.sent['address']}@127.0.0.1:{self.backends.port}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url,
            "PREFECT_SERVER_API_PORT": str(free_port("127.0.0.1", 0)),
            "HEADGATE_LOG_LEVEL": "debug",
            "HEADGATE_CAPTURE": "all",
            "HEADGATE_RETRIES": "0",
            "HEADGATE_COOLDOWN_AFTER": "0",
            "HEADGATE_CACHE_STALE": "60",
            "HEADGATE_BATCH_ATTEMPTS": "1",
            "HEADGATE_BATCH_PREFECT_SECONDS": "120",  # so that batches have runs in Prefect
            "HEADGATE_TRACES_RATE": "1000",
            "HEADGATE_DATA_DIR": str(self.folder / "data"),
            "HEADGATE_LOG_DIR": str(self.folder / "logs"),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": os.pathsep.join([str(PLANTED), str(Path(__file__).parents[2] / "src")]),
        }

    # ---- asking

    @property
    def keys(self) -> dict[str, str]:
        """The headers of a client that may do everything, and sends secrets of others along."""
        return {
            "x-api-key": self.sent["HEADGATE_API_KEYS"],
            "x-headgate-admin-key": self.sent["HEADGATE_ADMIN_KEYS"],
            "authorization": f"Bearer {self.sent['other bearer']}",
            "proxy-authorization": f"Basic {self.sent['proxy authorization']}",
            "cookie": f"session={self.sent['cookie']}; theme=dark",
            "x-claude-code-session-id": "session-of-the-canaries",
        }

    def ask(
        self, method: str, path: str, body: Any = None, *, may: frozenset[str] = frozenset(),
        headers: dict[str, str] | None = None, content: bytes | None = None, leave_after: int = 2**30,
    ) -> httpx.Response | None:  # fmt: skip
        """Ask, and keep all that comes; None if the connection broke. The query has a secret too."""
        address = f"{self.gateway.url}{path}{'&' if '?' in path else '?'}key={self.sent['query']}"
        came = b""
        answer = None
        given = self.keys if headers is None else headers
        try:
            with httpx.stream(
                method, address, json=body, content=content, headers=given, timeout=60
            ) as answer:
                came = f"{answer.status_code} {answer.reason_phrase}\n".encode()
                came += b"\n".join(name + b": " + value for name, value in answer.headers.raw) + b"\n\n"
                for piece in answer.iter_raw():
                    came += piece
                    if len(came) > leave_after:
                        break
        except httpx.HTTPError:
            pass
        self.answers.append(Answer(f"{self.path}: {method} {path}", came, may))
        if answer is not None:
            self.statuses.setdefault(self.path, []).append(answer.status_code)
            answer._content = came.partition(b"\n\n")[2]
        return answer

    def keep(self, data: bytes, may: frozenset[str] = frozenset()) -> None:
        """Keep what came another way."""
        self.answers.append(Answer(self.path, data, may))

    def run(self, *arguments: str, may: frozenset[str] = frozenset(), **settings: str) -> str:
        """Run a command in the server's folder; gives what it printed."""
        port = self.gateway.url.rpartition(":")[2]
        done = subprocess.run(
            [sys.executable, "-m", "headgate", *arguments],
            cwd=self.folder, env={**self.gateway.environment, "HEADGATE_PORT": port, **settings},
            capture_output=True, timeout=400, check=False,
        )  # fmt: skip
        told = done.stdout + b"\n" + done.stderr
        self.answers.append(Answer(f"{self.path}: headgate {' '.join(arguments)}", told, may))
        return told.decode()

    def wait(self, met: Callable[[], Any], what: str, seconds: float = 240) -> Any:
        """Wait until something holds; gives it."""
        limit = time.monotonic() + seconds
        while not (found := met()):
            assert time.monotonic() < limit, f"{what}: not in {seconds} s\n{self.gateway.log()[-3000:]}"
            time.sleep(0.2)
        return found

    # ---- searching

    @property
    def by_design(self) -> tuple[Path, ...]:
        """The files that hold prompts and answers because that is what they are for.

        `headgate.db*` has the batches, `cache/` the answers of the cache; `batch.jsonl` is the input that the
        test gave to a command itself, and `.env` the server's settings.
        """
        return (self.folder / "data/headgate.db", self.folder / "data/cache", self.folder / "batch.jsonl")

    def may_hold(self, path: Path, found: Found) -> bool:
        """Say whether a file may hold what was found: content where it is kept by design, never a secret."""
        if path == self.folder / ".env":
            return found.name == "MISTRAL_API_KEY"
        ours = any(str(path).startswith(str(one)) for one in self.by_design)
        # in a database's raw pages, or where it was cut into them, a text may be in pieces
        return ours and (found.name in CONTENT or found.name == "a piece")

    def on_disk(self) -> Iterator[Found]:
        """Search every byte of every file that the server, its Prefect server and its commands wrote."""
        with tempfile.TemporaryDirectory() as scratch:
            for path in files_below(self.folder):
                for found in search_file(self.canaries, path, Path(scratch)):
                    if not self.may_hold(path, found):
                        yield found

    def in_answers(self) -> Iterator[Found]:
        """Search every answer, and what the collector of traces was sent."""
        for answer in self.answers:
            for found in self.canaries.search(answer.data, answer.path):
                if found.name not in answer.may:
                    yield found
        for body in self.collector.bodies:
            yield from self.canaries.search(body, "a trace")

    def in_processes(self) -> Iterator[Found]:
        """Search the command lines of the server's processes: everybody on the machine can read them."""
        for pid in _below(self.gateway.process.pid if self.gateway.process else 0):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            yield from self.canaries.search(line, f"the command line of {pid}")


def _below(pid: int) -> list[int]:
    """List a process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        parents.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


@contextmanager
def new_world() -> Iterator[World]:
    """Start the fakes and the server; end them."""
    with ExitStack() as stack:
        openrouter = stack.enter_context(FakeOpenRouter())
        backends = stack.enter_context(FakeBackends())
        providers = stack.enter_context(FakeProviders())
        world = World(openrouter, backends, providers, stack.enter_context(Collector()))
        stack.enter_context(world.gateway)
        yield world
