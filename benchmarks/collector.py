"""A collector that takes every trace and keeps none: `python -m benchmarks.collector PORT`."""

from __future__ import annotations

import sys

import uvloop
from aiohttp import web


async def take(request: web.Request) -> web.Response:
    """Read the batch, count its bytes."""
    request.app["taken"].append(len(await request.read()))
    return web.Response(content_type="application/x-protobuf")


async def count(request: web.Request) -> web.Response:
    return web.Response(text=str(sum(request.app["taken"])))


def main() -> None:
    app = web.Application(client_max_size=64 * 2**20)
    app["taken"] = []
    app.router.add_post("/v1/traces", take)
    app.router.add_get("/count", count)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)


if __name__ == "__main__":
    main()
