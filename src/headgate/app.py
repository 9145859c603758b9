"""Assembly: the parts of one web process, and the application around them."""

from __future__ import annotations

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
from coordinators.gateway import Gateway
from coordinators.http_upstream import HttpUpstream, Timeouts
from coordinators.keys import AdminKeys, ClientKeys
from coordinators.litellm_calls import LiteLLM
from coordinators.runs import FlowRuns
from express.recorder import Allowance, SocketSink, recorder_stats
from flows.attempts import Patience
from flows.prepare import House
from headgate import __version__
from headgate.backends import assemble, assemble_universal
from headgate.cache import assemble_cache
from headgate.parameters import load_presets
from headgate.settings import BackendName, is_loopback
from routers import cache, models, status
from routers.answering import error_response, id_headers
from routers.cache import cache_doors
from routers.messages import doors
from routers.reading import request_id
from routers.universal import router as universal_router
from routers.universal import universal_doors
from tasks.apply_profile import DEFAULT_PROFILES, Profile, Profiles
from wire.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from coordinators.routing import RoutingTable
    from headgate.instance import Instance
    from headgate.settings import Settings


_RUNS = (400, 200)  # at once and a second, to the recorder: an embedded Prefect server takes about 10


class Parts:
    """Everything a web process owns; made within its event loop, closed at its end."""

    def __init__(self, settings: Settings, instance: Instance) -> None:
        self.http = HttpUpstream(
            Timeouts(
                connect=settings.connect_timeout,
                first_byte=settings.first_byte_timeout,
                idle=settings.idle_timeout,
                whole=settings.answer_timeout,
            )
        )
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
        self.cache = assemble_cache(settings, presets)
        runs: Any = instance.runs
        keys = ClientKeys(key.get_secret_value() for key in settings.api_keys)
        admins = AdminKeys(
            (key.get_secret_value() for key in settings.admin_keys), clients=bool(settings.api_keys)
        )
        self.gateway = Gateway(
            backends=backends,
            universal=assemble_universal(settings, self.http, library),
            counter=self.counter,
            catalog=Catalog(backends, unlisted=_listed_elsewhere(backends)),
            keys=keys,
            runs=FlowRuns(runs, self.sink),
            patience=Patience(retries=settings.retries),
            house=House(presets, _profiles(settings), settings.prompt_cache == "auto"),
            cache=self.cache,
            ping_seconds=settings.ping_seconds,
            describe=lambda: _description(settings, instance),
            check_health=_health_check(instance, backends),
        )
        self.cache_admin = CacheAdmin(self.gateway, keys, admins)

    async def close(self) -> None:
        """Store what is being stored, flush the runs and close every connection."""
        await self.cache.close()
        if self.sink is not None:
            await self.sink.close()
        await self.counter.close()
        await self.http.close()


def _profiles(settings: Settings) -> Profiles:
    """Give the models' profiles: those of the settings come before the ones that are built in."""
    told = {name: Profile(one.effort, one.tool_timeout) for name, one in settings.profiles.items()}
    usual = {name: one for name, one in DEFAULT_PROFILES.items() if name not in told}
    return Profiles(told | usual, settings.thinking)


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
            "prefect_ui": instance.prefect_ui_url if local else None,
        },
    }


def _health_check(
    instance: Instance, backends: RoutingTable
) -> Callable[[Gateway], Awaitable[dict[str, Any]]]:
    async def check(gateway: Gateway) -> dict[str, Any]:
        processes = instance.child_states()
        recorder: dict[str, Any] = {"state": "off"}
        if instance.runs == "express":
            try:
                recorder = {"state": "ok", **await recorder_stats(instance.recorder_socket)}
            except (OSError, TimeoutError, ValueError):
                recorder = {"state": "unreachable"}
        healthy = all(child.get("state") == "running" for child in processes.values())
        return {
            "status": "ok" if healthy else "degraded",
            "version": __version__,
            "instance": instance.id,
            "backend": {
                "name": backends.default.name,
                "base_url": backends.default.base_url,
                "chosen_because": instance.why,
            },
            "backends": [backend.state() for backend in backends.backends.values()],
            "runs": instance.runs,
            "prefect": {"api_url": instance.prefect_api_url, "ui_url": instance.prefect_ui_url},
            "recorder": recorder,
            "streams_open": gateway.streams_open,
            "processes": processes,
        }

    return check


def create_app(settings: Settings, instance: Instance) -> FastAPI:
    """Give the application of one web process."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = Parts(settings, instance)
        app.state.gateway = parts.gateway
        app.state.cache_admin = parts.cache_admin
        try:
            yield
        finally:
            await parts.close()

    app = Application(
        title="Headgate", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.router.routes.extend(Route(path, door, methods=["POST"]) for path, door in app.doors.items())
    app.include_router(cache.router)
    app.include_router(models.router)
    app.include_router(universal_router)
    app.include_router(status.router)
    app.include_router(models.router, prefix="/v1", include_in_schema=False)
    app.include_router(universal_router, prefix="/v1", include_in_schema=False)
    app.add_exception_handler(GatewayError, _tell_error)
    app.add_exception_handler(HTTPException, _tell_http_error)
    app.add_exception_handler(RequestValidationError, _tell_bad_query)
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
    return error_response(error, request_id(request.scope))


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
    response = error_response(told, request_id(request.scope), door.form if door else "anthropic")
    response.headers.update(error.headers or {})
    return response


def _tell_bad_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    lines = [f"{item['loc'][-1]}: {item['msg']}" for item in error.errors()]
    return error_response(InvalidRequest("; ".join(lines)), request_id(request.scope))
