"""Debian's PostgreSQL on a free port of loopback, in a folder of its own; a test may kill and restart it.

The tests that ask for it are marked `postgres`. Where the server is not installed they fail, and say so:
`make postgres` is asked for by name.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

from coordinators.prefect_server import free_port

MISSING = (
    "PostgreSQL's server is not installed: apt-get install postgresql (its programs are looked for in {})"
)
PROGRAMS = Path("/usr/lib/postgresql")


def program(name: str) -> str:
    """Find one of PostgreSQL's programs, the newest version's."""
    found = sorted(PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3].partition(".")[0]))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        raise FileNotFoundError(MISSING.format(PROGRAMS))
    return path


class PostgresServer:
    """One server. `fsync=False` is quicker, and right where no test cuts the machine's power."""

    def __init__(self, *, fsync: bool = False) -> None:
        self._fsync = fsync
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port("127.0.0.1", 15432)

    def url(self) -> str:
        return f"postgresql://headgate:of-the-test@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Make the database if there is none, and wait until the server answers."""
        if not self._data.exists():
            self._make()
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("postgres"), "-D", str(self._data)], stdout=log, stderr=log, **self._user()
            )
        limit = time.monotonic() + 60
        ready = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode:
            assert self._process.poll() is None, f"postgres ended: {self.log()[-2000:]}"
            assert time.monotonic() < limit, "postgres does not answer"
            time.sleep(0.05)
        return self

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def kill(self) -> None:
        """End it and all its children as a crash does, with SIGKILL; `restart` recovers."""
        if self._process is not None:
            # The children lead sessions of their own, and hold the memory that a new server asks for.
            children = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            self._process.wait(10)
            self._process = None
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            psutil.wait_procs(children, timeout=10)

    def restart(self) -> None:
        """Start it again on the same port, with what was committed."""
        self.kill()
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self.start()

    def stop(self) -> None:
        """End it, and remove everything."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast: clients are disconnected
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def emptied(self) -> str:
        """Remove all that is in the database, and give its address."""
        statements = "SET client_min_messages = error; DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        subprocess.run([program("psql"), "-q", "-d", self.url(), "-c", statements], check=True)
        return self.url()

    def _make(self) -> None:
        user = self._user()
        password = self._folder / "password"
        password.write_text("of-the-test\n")
        if "user" in user:
            self._folder.chmod(0o700)
            for path in (self._folder, password):
                shutil.chown(path, user["user"])
        argv = [program("initdb"), "-D", str(self._data), "-U", "headgate", "--auth=scram-sha-256"]
        argv += ["--no-sync", "--locale=C.UTF-8", "--encoding=UTF8", f"--pwfile={password}"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, **user)
        lines = [
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            f"unix_socket_directories = '{self._folder}'",
            f"fsync = {'on' if self._fsync else 'off'}",
            "shared_buffers = 32MB",
            "max_connections = 60",
        ]
        with (self._data / "postgresql.conf").open("a") as file:
            file.write("\n".join(lines) + "\n")

    @staticmethod
    def _user() -> dict[str, Any]:
        """Say how to start its programs, which refuse to be root, in a group of their own."""
        if os.geteuid():
            return {"start_new_session": True}
        found = pwd.getpwnam("postgres")
        return {
            "user": found.pw_uid,
            "group": found.pw_gid,
            "extra_groups": [],
            "cwd": "/",
            "start_new_session": True,
        }
