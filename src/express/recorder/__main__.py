"""`python -m express.recorder --socket PATH [--api URL]`: the recorder process.

It ends on SIGTERM, or when its standard input does, after it has written what it can in 5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from express.niceness import give_way
from express.recorder.process import NICENESS, Recorder, serve_until_told
from express.recorder.server import Mark


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="express.recorder", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="the Unix socket to listen on")
    parser.add_argument("--api", help="the Prefect API, if not the one in PREFECT_API_URL")
    parser.add_argument(
        "--journal", type=Path, help="where open runs are noted; beside the socket if not set"
    )
    parser.add_argument(
        "--mark", help="NAME=VALUE, a header among its settings by which the Prefect server is known"
    )
    options = parser.parse_args(arguments)
    api = options.api or os.environ.get("PREFECT_API_URL")
    if not api:
        parser.error("name the Prefect API: --api or PREFECT_API_URL, as http://127.0.0.1:4200/api")
    mark = Mark(*options.mark.split("=", 1)) if options.mark else None
    give_way(NICENESS)
    asyncio.run(serve_until_told(Recorder(options.socket, api, mark=mark, journal=options.journal)))


if __name__ == "__main__":
    main()
