"""The Open Inference Protocol over HTTP, with Triton's repository extension: stock clients work as they are."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
from starlette.routing import Route

from ...core.context import Context
from ...core.errors import FieldProblem, InvalidInput, StanchionError
from ...core.http.limits import read_body
from ...core.http.routes import BODY, CONTEXT, ROW, decoded
from ...core.http.strict import check_json
from ...core.redaction import redact
from ...core.telemetry.contract import LedgerRow
from ..contract.repository import InferResponse, ModelMetadata, Repository
from .wire import read, write

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

T = TypeVar("T")
SERVER = "stanchion"
EXTENSIONS = ("model_repository", "binary_tensor_data")
READY = "READY"
_JSON, _BYTES = b"application/json", b"application/octet-stream"
_MOST = 8 << 20  # where no door has read the body already, as in a test
_LONGEST = 192
_encode = msgspec.json.Encoder().encode


class Request(NamedTuple):
    """What an endpoint is asked: by whom, the parts of the path by name, headers and body."""

    ctx: Context
    row: LedgerRow
    names: Mapping[str, str]
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    @property
    def reference(self) -> str:
        """The model as the registry writes it: `name`, `name@alias`, or `name@1.4.0` where the path has a version."""
        return reference(self.names["model"], self.names.get("version", ""))

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, which is named in lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Reply(NamedTuple):
    """What an endpoint answers."""

    content: bytes = b"{}"
    status: int = 200
    media: bytes = _JSON
    headers: Sequence[tuple[bytes, bytes]] = ()


class Endpoint:
    """An ASGI application around one function, past the framework's own way to it."""

    def __init__(self, answer: Callable[[Request], Awaitable[Reply]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get(BODY)
        if body is None:
            body = await read_body(receive, _MOST)
        reply = await self._answer(Request(scope[CONTEXT], scope[ROW], scope["path_params"], scope["headers"], body))
        headers = [
            (b"content-type", reply.media),
            (b"content-length", str(len(reply.content)).encode()),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.content})


def reference(model: str, wanted: str) -> str:
    """`name@version`, or the name alone without one. Raises InvalidInput if the name holds a version already."""
    if not wanted:
        return model
    if "@" in model:
        raise InvalidInput("the model is named with a version twice", fields=[FieldProblem("$.model", "Name one")])
    return f"{model}@{wanted}"


def named(row: LedgerRow, model: str) -> None:
    """Let the ledger row of a refused request name the model, if it may be one: it comes from the caller."""
    row.subject = redact(model) if len(model) <= _LONGEST and model.isprintable() else ""


def learn(row: LedgerRow, answer: InferResponse) -> None:
    """Complete the ledger row with what answered, and how many rows of tensors it was."""
    row.subject, row.version, row.rung = answer.model, answer.version, answer.served_by
    shape = answer.outputs[0].shape if answer.outputs else ()
    row.items = max(1, shape[0]) if shape else 1


def sooner(ctx: Context, seconds: float | None) -> Context:
    """The Context with the time limit that came in the request, if that is the earlier one."""
    # A deadline is a moment of the process's monotonic clock, which is this one.
    return ctx if seconds is None else ctx.until(time.monotonic() + seconds)


class Endpoints:
    """The functions behind the paths, over a gated serving."""

    def __init__(self, serving: Repository) -> None:
        self._serving = serving

    async def infer(self, asked: Request) -> Reply:
        """Run a model on tensors."""
        if asked.header(b"content-encoding") not in (None, b"identity"):
            raise InvalidInput("compressed bodies are not taken", next_step="Send the body as it is.")
        try:
            given = read(asked.body, asked.header(b"inference-header-content-length"))
            if given.model is not None and given.model != asked.names["model"]:
                raise InvalidInput(
                    "the body names another model than the path",
                    fields=[FieldProblem("$.model_name", "Expected the name in the path, or none")],
                )
            answer = await self._serving.infer(sooner(asked.ctx, given.seconds), asked.reference, given.request)
        except StanchionError:
            named(asked.row, asked.names["model"])
            raise
        learn(asked.row, answer)
        told = write(given, answer)
        if told.json_bytes is None:
            return Reply(told.content)
        length = (b"inference-header-content-length", str(told.json_bytes).encode())
        return Reply(told.content, media=_BYTES, headers=[length])

    async def server(self, asked: Request) -> Reply:
        """What this server is and which extensions it has."""
        # Asked only so that a caller without any right on serving learns nothing here either.
        await self._serving.index(asked.ctx)
        return _json({"name": SERVER, "version": version(SERVER), "extensions": EXTENSIONS})

    async def metadata(self, asked: Request) -> Reply:
        """What a model takes and gives."""
        return _json(described(await self._serving.metadata(asked.ctx, asked.reference)))

    async def ready(self, asked: Request) -> Reply:
        """Whether a model would answer: 200, else 400, as the protocol has it: 4xx is false."""
        ready = await self._serving.ready(asked.ctx, asked.reference)
        return _json({"name": asked.names["model"], "ready": ready}, 200 if ready else 400)

    async def index(self, asked: Request) -> Reply:
        """The models of the repository."""
        wanted = _body(asked.body, _INDEX)
        states = await self._serving.index(asked.ctx)
        return _json([asdict(each) for each in states if not wanted.ready or each.state == READY])

    async def load(self, asked: Request) -> Reply:
        """Bring a model into memory and into service."""
        wanted = _body(asked.body, _LOAD)
        if wanted.parameters:
            # Triton takes a whole model by this way; ours come from the registry, signed.
            name = sorted(wanted.parameters)[0]
            raise InvalidInput(
                "a model is loaded as the registry holds it",
                fields=[FieldProblem(f"$.parameters.{name[:64]}", "No such parameter")],
            )
        return _json(asdict(await self._serving.load(asked.ctx, asked.names["model"])))

    async def unload(self, asked: Request) -> Reply:
        """Take a model out of memory until it is loaded again."""
        # Its one parameter, unload_dependents, means nothing here: no model has dependents of its own.
        _body(asked.body, _LOAD)
        return _json(asdict(await self._serving.unload(asked.ctx, asked.names["model"])))


class _Index(msgspec.Struct, forbid_unknown_fields=True):
    ready: bool = False


class _Load(msgspec.Struct, forbid_unknown_fields=True):
    parameters: dict[str, Any] | None = None


_INDEX, _LOAD = msgspec.json.Decoder(_Index), msgspec.json.Decoder(_Load)


def described(model: ModelMetadata) -> dict[str, Any]:
    """A model's metadata as the protocol has it."""
    return {
        "name": model.name,
        "versions": model.versions,
        "platform": model.platform,
        "inputs": [asdict(each) for each in model.inputs],
        "outputs": [asdict(each) for each in model.outputs],
        "parameters": {**model.parameters, "version": model.version},
    }


def endpoints(serving: Repository) -> list[Route]:
    """The routes of the protocol, the hottest first."""
    ours = Endpoints(serving)
    model = "/v2/models/{model}"
    versioned = model + "/versions/{version}"
    return [
        _route(f"{model}/infer", ours.infer, "POST"),
        _route(f"{versioned}/infer", ours.infer, "POST"),
        _route(f"{model}/ready", ours.ready, "GET"),
        _route(f"{versioned}/ready", ours.ready, "GET"),
        _route(versioned, ours.metadata, "GET"),
        _route(model, ours.metadata, "GET"),
        _route("/v2/repository/index", ours.index, "POST"),
        _route("/v2/repository/models/{model}/load", ours.load, "POST"),
        _route("/v2/repository/models/{model}/unload", ours.unload, "POST"),
        _route("/v2", ours.server, "GET"),
    ]


def _route(path: str, answer: Callable[[Request], Awaitable[Reply]], method: str) -> Route:
    return Route(path, Endpoint(answer), methods=[method])


def _json(content: object, status: int = 200) -> Reply:
    return Reply(_encode(content), status)


def _body(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type; no body stands for an empty object."""
    content = body or b"{}"
    check_json(content)
    return decoded(content, decoder)
