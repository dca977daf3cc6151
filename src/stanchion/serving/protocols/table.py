"""What of the protocols is served over HTTP: the paths, the socket, and their part of the OpenAPI document."""

from __future__ import annotations

import msgspec
from starlette.routing import Route

from ...core.http.routes import Routes, decoded
from ..answers import AskOne, answered
from ..contract import Serving
from .document import ONE, PATHS, SCHEMAS
from .events import event_route
from .rest import Endpoint, Reply, Request, endpoints
from .socket import PATH, PredictionSocket

_DECODER = msgspec.json.Decoder(AskOne)
_encode = msgspec.json.Encoder().encode


def served(serving: Serving) -> Routes:
    """The routes over a gated serving."""
    return Routes(
        hot=[*endpoints(serving), event_route(serving), _one(serving)],
        sockets={PATH: PredictionSocket(serving)},
        paths=PATHS,
        schemas=SCHEMAS,
    )


def _one(serving: Serving) -> Route:
    """The route that names the model in its path, which generated clients find under the model's own types."""

    async def predict(asked: Request) -> Reply:
        ask = decoded(asked.body, _DECODER).of(asked.names["model"])
        return Reply(_encode(await answered(serving, asked.ctx, asked.row, ask)))

    return Route(ONE, Endpoint(predict), methods=["POST"])
