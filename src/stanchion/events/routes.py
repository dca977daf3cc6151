"""Events over HTTP: CloudEvents in, events out as they come, and what operators do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.routing import Route

from ..core.http import Routes
from .contract import Events
from .protocols.document import paths, schemas
from .protocols.managing import add_consuming, add_operating
from .protocols.publishing import PATH, Publishing
from .protocols.recalling import add_recalling
from .protocols.registry import add_asyncapi, add_schemas
from .protocols.socket import PATH as SOCKET
from .protocols.socket import EventSocket
from .protocols.stream import EventStream
from .protocols.webhooks import add_hooks, incoming_route

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


def routes(events: Events) -> Routes:
    """The routes over gated events."""
    api = APIRouter(prefix="/v1/events", tags=["events"])
    add_operating(api, events)
    add_consuming(api, events)
    add_recalling(api, events)
    add_schemas(api, events)
    add_asyncapi(api, events)
    add_hooks(api, events)
    return Routes(
        api=api,
        hot=[_events(events), incoming_route(events)],
        sockets={SOCKET: EventSocket(events)},
        paths=paths(),
        schemas=schemas(),
    )


def _events(events: Events) -> Route:
    """Both methods of one path: what comes in is published, who asks follows."""
    ways: dict[str, ASGIApp] = {"POST": Publishing(events), "GET": EventStream(events)}

    class Both:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await ways[scope["method"]](scope, receive, send)

    route = Route(PATH, Both(), methods=list(ways))
    # Added to every GET, but the head of a stream that has no end is of no use to anybody.
    (route.methods or set()).discard("HEAD")
    return route
