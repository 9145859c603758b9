"""Assembly: the parts of one web process, and the application around them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from coordinators.backend_reports import BackendReports
from coordinators.cache_admin import CacheAdmin
from coordinators.catalog import Catalog
from coordinators.counter import Counter
from coordinators.debug import Debug
from coordinators.gateway import Gateway
from coordinators.health import Readiness
from coordinators.keys import AdminKeys
from coordinators.litellm_calls import LiteLLM
from coordinators.runs import FlowRuns
from express.recorder import Allowance, SocketSink
from flows.attempts import Patience
from headgate import __version__
from headgate.backends import assemble, assemble_http, assemble_universal
from headgate.batch_parts import BatchStoreOpener, assemble_batches
from headgate.cache import assemble_cache
from headgate.capture_parts import assemble_capturing
from headgate.house import assemble_house
from headgate.instance import WORKER
from headgate.observing import Observing
from headgate.overview import OverviewParts
from headgate.parameters import load_presets
from headgate.recording import scrubber_of, secrets_of, start_recording, watch_loop
from headgate.settings import BackendName, is_loopback
from headgate.usage_parts import UsageParts
from routers import batches, cache, debug, metrics, models, overview, status
from routers.answering import error_response, id_headers, note_error
from routers.cache import cache_doors
from routers.messages import doors
from routers.reading import request_id
from routers.universal import router as universal_router
from routers.universal import universal_doors
from wire.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound
from wire.upstream_errors import hide

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from coordinators.observing import Observer
    from coordinators.routing import RoutingTable
    from express import Sink
    from headgate.instance import Instance
    from headgate.settings import Settings


_RUNS = (400, 200)  # at once and a second, to the recorder: an embedded Prefect server takes about 10


class Parts:
    """Everything a web process owns; made within its event loop, closed at its end.

    `quiet`: requests that go well are not logged. `name` is the process's, in its log folder.
    """

    def __init__(
        self,
        settings: Settings,
        instance: Instance,
        sink: Sink | None = None,
        *,
        quiet: bool = False,
        name: str = "web",
        readiness: Readiness | None = None,
    ) -> None:
        self.recording = recording = start_recording(settings, instance, name)
        hide(secrets_of(settings))
        self.http = assemble_http(settings)
        self.counter = Counter(instance.counter_socket)
        self.sink: SocketSink | None = None
        if instance.runs == "express":
            self.sink = SocketSink(instance.recorder_socket, allowance=Allowance(*_RUNS))
        library = LiteLLM(self.http)
        backends = assemble(settings, self.http, instance.demo_url, library)
        if backends.default.name == BackendName.LITELLM_OPENROUTER.prefix:
            library.warm()
        if self.sink is not None:
            BackendReports(backends.backends.values(), self.sink)
        presets = load_presets()
        runs: Any = instance.runs
        self.observing = Observing(settings, instance, backends, web=name == "web")
        universal = assemble_universal(settings, self.http, library)
        self.usage = UsageParts(
            settings,
            dict.fromkeys(one.name for one in universal.lanes)
            | {name: one.list_models for name, one in backends.backends.items()},
            apart=instance.id == WORKER,
        )
        self.cache = assemble_cache(settings, presets, self.usage.prices)
        keys = self.usage.keys
        self._batch_store = BatchStoreOpener(settings)
        self.overview = OverviewParts(settings, instance, recording, watching=name == "web")
        requests = [recording.requests] if recording.requests is not None else []
        observers: list[Observer] = [
            self.usage.usage, *requests, *self.overview.observers, *self.observing.observers
        ]  # fmt: skip
        self.capturing = assemble_capturing(settings, scrubber_of(settings)) if name == "web" else None
        if self.capturing is not None:
            observers.append(self.capturing)
        admins = AdminKeys(
            (key.get_secret_value() for key in settings.admin_keys), clients=lambda: keys.required
        )
        self.runs = FlowRuns(
            runs, sink or self.sink, observers, recording.errors, quiet=quiet or recording.echoes
        )
        self.gateway = Gateway(
            backends=backends,
            universal=universal,
            counter=self.counter,
            catalog=Catalog(backends, unlisted=_listed_elsewhere(backends)),
            keys=keys,
            limits=self.usage.limits,
            prices=self.usage.prices,
            runs=self.runs,
            patience=Patience(retries=settings.retries),
            house=assemble_house(settings, presets),
            cache=self.cache,
            ping_seconds=settings.ping_seconds,
            keep_answers=settings.capture_largest if self.capturing and settings.capture == "all" else 0,
            describe=lambda: _description(settings, instance),
            check_health=self.overview.check_health,
        )
        self.cache_admin = CacheAdmin(self.gateway, keys, admins)
        self.batches = assemble_batches(settings, instance, self._batch_store, keys)
        self.metric_reports = self.observing.begin(
            self.gateway, keys, admins, self.sink, self._batch_store, limits=self.usage.limits
        )
        self.debug = Debug(recording.folder, admins, self._lost)
        self.overview.begin(
            self.gateway,
            admins,
            self._batch_store,
            usage=self.usage,
            traces=self.observing.traces,
            lost=self._lost,
            workers=self.observing.workers,
            http=self.http,
            readiness=readiness or Readiness(),
        )

    def _lost(self) -> dict[str, int]:
        """Give what could not be written down, by where it should stand."""
        captures = {} if self.capturing is None else {"captures": self.capturing.lost}
        return self.recording.counts() | captures

    async def close(self) -> None:
        """Store what is being stored, flush the runs and close every connection."""
        await self.runs.close()
        await self.cache.close()
        await self.usage.close()
        await self._batch_store.close()
        await self.observing.close()
        if self.sink is not None:
            await self.sink.close()
        await self.counter.close()
        await self.http.close()
        await asyncio.to_thread(self.recording.close)
        if self.capturing is not None:
            await asyncio.to_thread(self.capturing.close)


def _listed_elsewhere(backends: RoutingTable) -> set[str]:
    """Name the backend whose models are another's: LiteLLM and OpenRouter have the same ones."""
    return {"openrouter"} if backends.default.name == "litellm" else {"litellm"}


def _description(settings: Settings, instance: Instance) -> dict[str, Any]:
    # Behind a public address the page says less: where Prefect is belongs to its owner.
    local = is_loopback(settings.host)
    return {
        "name": "headgate",
        "version": __version__,
        "backend": instance.backend.lower(),
        "links": {
            "messages": "/v1/messages",
            "models": "/v1/models",
            "health": "/health",
            "health_detailed": "/health/detailed",
            "metrics": "/metrics",
            "overview": "/overview",
            "prefect_ui": instance.prefect_ui_url if local else None,
        },
    }


def create_app(settings: Settings, instance: Instance, sink: Sink | None = None) -> FastAPI:
    """Give the application of one web process. `sink` takes its express runs in the recorder's place."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = Parts(settings, instance, sink, readiness=app.state.readiness)
        await parts.usage.start()
        app.state.errors, app.state.requests = parts.recording.errors, parts.recording.requests
        watch_loop(asyncio.get_running_loop(), parts.recording.errors)
        app.state.gateway = parts.gateway
        app.state.cache_admin = parts.cache_admin
        app.state.batches = parts.batches
        app.state.metric_reports = parts.metric_reports
        app.state.debug = parts.debug
        app.state.claude_code = parts.overview.claude_code
        app.state.overview = parts.overview.overview
        app.state.readiness.assembled = True
        try:
            yield
        finally:
            await parts.close()

    app = Application(
        title="Headgate", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.readiness = Readiness()
    app.router.routes.extend(Route(path, door, methods=["POST"]) for path, door in app.doors.items())
    app.include_router(batches.router)
    app.include_router(cache.router)
    app.include_router(debug.router)
    app.include_router(models.router)
    app.include_router(universal_router)
    app.include_router(metrics.router)
    app.include_router(overview.router)
    app.include_router(status.router)
    app.include_router(batches.router, prefix="/v1", include_in_schema=False)
    app.include_router(models.router, prefix="/v1", include_in_schema=False)
    app.include_router(universal_router, prefix="/v1", include_in_schema=False)
    app.add_exception_handler(GatewayError, _tell_error)
    app.add_exception_handler(HTTPException, _tell_http_error)
    app.add_exception_handler(RequestValidationError, _tell_bad_query)
    app.add_exception_handler(Exception, _tell_crash)
    app.add_middleware(RequestIds)
    return app


class Application(FastAPI):
    """The application. Its doors are answered before the middleware; as routes they only refuse methods."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.doors: Mapping[str, ASGIApp] = {**doors(), **universal_doors(), **cache_doors()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] == "http" and scope["method"] == "POST" and (door := self.doors.get(scope["path"])):
            scope["app"] = self
            await door(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


class RequestIds:
    """Gives every answer its `request-id` header, the one that its error body names, and `x-request-id`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = request_id(scope)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *id_headers(name)]
            await send(message)

        await self._app(scope, receive, send_with_id)


def _tell_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)  # noqa: S101 - registered for this class
    return error_response(note_error(error, request.scope), request_id(request.scope))


def _tell_crash(request: Request, error: Exception) -> Response:
    return error_response(note_error(error, request.scope), request_id(request.scope))


def _tell_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    path = request.url.path[:200]
    told: GatewayError
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        told = MethodNotAllowed(f"{request.method} is not a method of {path}")
    elif error.status_code == HTTPStatus.NOT_FOUND:
        told = NotFound(f"there is no {path} here")
    else:
        told = InvalidRequest(str(error.detail), status_sent=error.status_code)
    door = request.app.doors.get(request.url.path)
    note_error(told.with_traceback(error.__traceback__), request.scope)
    response = error_response(told, request_id(request.scope), door.form if door else "anthropic")
    response.headers.update(error.headers or {})
    return response


def _tell_bad_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    lines = [f"{item['loc'][-1]}: {item['msg']}" for item in error.errors()]
    told = InvalidRequest("; ".join(lines)).with_traceback(error.__traceback__)
    return error_response(note_error(told, request.scope), request_id(request.scope))
