"""Builds the public application of a house: every route behind one door."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from ... import __version__
from ...core.flags import Flags
from ...core.http.door import MATCHED, Door, Limits, Surface
from ...core.http.routes import Routes, context_of, json_response
from ...core.module import Module
from ...core.security.contract import Audit, Keys, Policies
from ...core.telemetry.contract import Contents, Observatory
from ...core.telemetry.sampling import RateSampler
from ...features import Features
from ...gateway import Gateway
from ...registry import Registry
from ...system.house import House
from ..desk import house_desk
from . import problems
from .flags import routes as flag_routes
from .lineage import routes as lineage_routes
from .models import Models
from .openapi import complete
from .security import routes as security_routes
from .shaped import Shaped
from .sockets import Sockets
from .telemetry import routes as telemetry_routes

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.routing import Route
    from starlette.types import ASGIApp, Receive, Scope, Send

PROBES = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
OPEN_PATHS = frozenset({"/", "/docs", "/openapi.json", "/console/login"}) | PROBES
# A webhook has no key: its message is signed.
OPEN_PREFIXES = ("/static-offline-docs/", "/console/static/", "/v1/webhooks/")
# The Open Inference Protocol: stock clients look for errors in its own form.
FOREIGN = ("/v2",)


class Switch:
    """Sends the paths of hot routes straight to them, past the framework's router and middleware."""

    def __init__(self, hot: Mapping[str, Route], rest: ASGIApp) -> None:
        self._exact = {path: route for path, route in hot.items() if "{" not in path}
        # By what stands before the first parameter: a look at one or two prefixes sends all other paths on.
        self._below: dict[str, list[Route]] = {}
        for path, route in hot.items():
            if "{" in path:
                self._below.setdefault(path.partition("{")[0], []).append(route)
        self._prefixes = tuple(self._below)
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._found(scope) if scope["type"] == "http" else None
        if route is None or scope["method"] not in (route.methods or ()):
            await self._rest(scope, receive, send)
            return
        scope[MATCHED] = route.path
        await route.app(scope, receive, send)

    def _found(self, scope: Scope) -> Route | None:
        path: str = scope["path"]
        route = self._exact.get(path)
        if route is not None:
            scope["path_params"] = {}
            return route
        if path.startswith(self._prefixes):
            for prefix in self._prefixes:
                for route in self._below[prefix] if path.startswith(prefix) else ():
                    if (match := route.path_regex.match(path)) and scope["method"] in (route.methods or ()):
                        scope["path_params"] = match.groupdict()
                        return route
        return None


def build_app(house: House, *, console: bool = True) -> ASGIApp:
    """The ASGI application of this process's modules, with the routes of modules placed elsewhere as well."""
    api, collected = _application(house)
    hot = {route.path: route for routes in collected for route in routes.hot}
    # A hot path is known to the framework as well, which answers its other methods and lists it in the document.
    api.router.routes.extend(hot.values())
    if console:
        from .console import mount_console

        mount_console(api, house)
    sockets = {path: socket for routes in collected for path, socket in routes.sockets.items()}
    writers = {path: write for routes in collected for path, write in routes.problems.items()}
    gateway = house.find(Gateway)
    rest = api if gateway is None else Models(gateway, api)
    door = _door(house, Switch(hot, rest))
    return Sockets(Shaped(door, writers) if writers else door, sockets, house_desk(house))


def openapi_document(house: House) -> dict[str, Any]:
    """The OpenAPI document of the application that `build_app` makes."""
    return _application(house)[0].openapi()


def _application(house: House) -> tuple[FastAPI, list[Routes]]:
    collected = [*_core_routes(house), *_module_routes(house)]
    api = _framework(house)
    problems.install(api)
    for routes in collected:
        if routes.api is not None:
            api.include_router(routes.api)
    _operations(api, house)
    complete(api, [*collected, *_documents(house)])
    return api, collected


def _core_routes(house: House) -> Sequence[Routes]:
    return [
        security_routes(house.door(Keys), house.door(Policies), house.door(Audit)),
        telemetry_routes(house.door(Observatory), house.door(Contents)),
        flag_routes(house.door(Flags)),
    ]


def _module_routes(house: House) -> list[Routes]:
    found: list[Module] = [*house.modules.values(), *house.distant.values()]
    features = house.find(Features)
    joint = [] if features is None else [lineage_routes(features, house.find(Registry))]
    return joint + [module.routes(house.door(module.contract)) for module in found if module.routes is not None]


def _documents(house: House) -> list[Routes]:
    """What the declared system adds to the document."""
    found: list[Module] = [*house.modules.values(), *house.distant.values()]
    items = house.declared.all() if house.declared is not None else ()
    return [module.document(items) for module in found if module.document is not None]


def _framework(house: House) -> FastAPI:
    from fastapi_offline import FastAPIOffline

    name = house.declared.name if house.declared is not None else "stanchion"
    app: FastAPI = FastAPIOffline(
        title=f"{name} · Stanchion",
        version=__version__,
        description="Every call needs `Authorization: Bearer KEY`. Errors are RFC 9457 problem documents.",
        redoc_url=None,
        docs_url="/docs",
        # The function's own name: generated clients get `list_keys`, not `list_keys_v1_keys_get`.
        generate_unique_id_function=lambda route: route.name,
    )
    return app


def _operations(api: FastAPI, house: House) -> None:
    from starlette.responses import RedirectResponse

    async def healthz() -> Response:
        """Whether the process runs."""
        return json_response({"status": "ok"})

    async def readyz() -> Response:
        """Whether the process should get requests, and why not."""
        faults = house.faults()
        return json_response(
            {"status": "ready" if not faults else "not_ready", "faults": list(faults)}, 503 if faults else 200
        )

    async def live() -> Response:
        """Whether the process runs, as the Open Inference Protocol asks."""
        return json_response({"live": True})

    async def ready() -> Response:
        """Whether the process should get requests, as the Open Inference Protocol asks."""
        fit = not house.faults()
        return json_response({"ready": fit}, 200 if fit else 503)

    async def metrics(request: Request) -> Response:
        """Metrics in the Prometheus text format."""
        content = await house.door(Observatory).metrics(context_of(request))
        return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def home() -> Response:
        """The console."""
        return RedirectResponse("/console", status_code=307)

    metrics.__annotations__["request"] = _request_type()
    api.add_api_route("/healthz", healthz, tags=["operations"], response_class=Response)
    api.add_api_route("/readyz", readyz, tags=["operations"], response_class=Response)
    api.add_api_route("/v2/health/live", live, tags=["open inference"], response_class=Response)
    api.add_api_route("/v2/health/ready", ready, tags=["open inference"], response_class=Response)
    api.add_api_route("/metrics", metrics, tags=["operations"], response_class=Response)
    api.add_api_route("/", home, include_in_schema=False)


def _request_type() -> Any:
    """The framework looks parameter types up when a route is added; this module imports it for types only."""
    from starlette.requests import Request

    return Request


def _door(house: House, app: ASGIApp) -> Door:
    settings = house.settings
    ground = house.foundation
    return Door(
        app,
        authenticator=ground.doorkeeper,
        sessions=ground.doorkeeper,
        book=ground.book,
        sampler=RateSampler(
            share=settings.telemetry.sample, per_second=settings.telemetry.sample_per_second, clock=time.monotonic
        ),
        spans=ground.spans,
        faults=ground.instruments,
        capture=ground.content if settings.telemetry.capture else None,
        clock=ground.clock,
        surface=Surface(OPEN_PATHS, OPEN_PREFIXES, FOREIGN, PROBES),
        limits=Limits(
            body=settings.http.body_bytes, seconds=settings.http.seconds, concurrent=settings.http.concurrent
        ),
        owner=settings.tenant,
    )
