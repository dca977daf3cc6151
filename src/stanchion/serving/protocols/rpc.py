"""The Open Inference Protocol over gRPC: messages to contract calls and back; who listens is none of its affair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from google.protobuf.message import DecodeError

from ...core.context import Context
from ...core.errors import FieldProblem, InvalidInput, MalformedRequest, StanchionError
from ...core.redaction import redact
from ...core.rpc import RpcMethod, RpcService
from ...core.telemetry.contract import LedgerRow
from ..contract.repository import InferRequest, InferResponse, Repository
from ..contract.tensors import Tensor, packed_bytes
from .elements import check_datatype, check_shape
from .messages import message
from .rest import READY, SERVER, learn, named, reference, sooner
from .wire import about, check_parameters, time_limit

NAME = "inference.GRPCInferenceService"
EXTENSIONS = ("model_repository",)
_MOST_TENSORS = 1024
# Which field of a tensor's contents holds which datatype; FP16 has none and travels as bytes only.
_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def service(serving: Repository, ready: Callable[[], bool]) -> RpcService:
    """The service over a gated serving; `ready` tells whether this process should get requests."""
    ours = _Methods(serving, ready)
    return RpcService(
        NAME,
        [
            RpcMethod("ModelInfer", ours.infer),
            RpcMethod("ModelStreamInfer", ours.stream, refusal=_refusal),
            RpcMethod("ModelReady", ours.model_ready),
            RpcMethod("ModelMetadata", ours.metadata),
            RpcMethod("ServerMetadata", ours.server),
            RpcMethod("ServerLive", ours.live, open=True),
            RpcMethod("ServerReady", ours.ready, open=True),
            RpcMethod("RepositoryIndex", ours.index),
            RpcMethod("RepositoryModelLoad", ours.load),
            RpcMethod("RepositoryModelUnload", ours.unload),
        ],
    )


class _Methods:
    """One function for each method: bytes in, bytes out."""

    def __init__(self, serving: Repository, ready: Callable[[], bool]) -> None:
        self._serving = serving
        self._ready = ready

    async def infer(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        return _packed(await self._inferred(ctx, row, given))

    async def stream(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        answer = await self._inferred(ctx, row, given)
        return _packed(message("ModelStreamInferResponse")(infer_response=answer))

    async def _inferred(self, ctx: Context, row: LedgerRow, given: bytes) -> Any:
        asked = _read("ModelInferRequest", given)
        try:
            parameters = _parameters(asked.parameters)
            check_parameters(parameters, "$.parameters", stateful=True)
            limited = sooner(ctx, time_limit(parameters.get("timeout")))
            wanted = _request(asked)
            answer = await self._serving.infer(limited, reference(asked.model_name, asked.model_version), wanted)
        except StanchionError:
            named(row, asked.model_name)
            raise
        learn(row, answer)
        return _response(asked.id, answer, raw=wanted.binary)

    async def live(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        return _packed(message("ServerLiveResponse")(live=True))

    async def ready(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        return _packed(message("ServerReadyResponse")(ready=self._ready()))

    async def server(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        await self._serving.index(ctx)
        told = message("ServerMetadataResponse")(name=SERVER, version=version(SERVER), extensions=EXTENSIONS)
        return _packed(told)

    async def model_ready(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        asked = _read("ModelReadyRequest", given)
        ready = await self._serving.ready(ctx, reference(asked.name, asked.version))
        return _packed(message("ModelReadyResponse")(ready=ready))

    async def metadata(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        asked = _read("ModelMetadataRequest", given)
        found = await self._serving.metadata(ctx, reference(asked.name, asked.version))
        told = message("ModelMetadataResponse")(name=found.name, versions=found.versions, platform=found.platform)
        for ours, theirs in ((found.inputs, told.inputs), (found.outputs, told.outputs)):
            for each in ours:
                theirs.add(name=each.name, datatype=each.datatype, shape=each.shape)
        return _packed(told)

    async def index(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        asked = _read("RepositoryIndexRequest", given)
        told = message("RepositoryIndexResponse")()
        for each in await self._serving.index(ctx):
            if not asked.ready or each.state == READY:
                told.models.add(name=each.name, version=each.version, state=each.state, reason=each.reason)
        return _packed(told)

    async def load(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        asked = _read("RepositoryModelLoadRequest", given)
        if asked.parameters:
            name = min(asked.parameters)
            raise InvalidInput(
                "a model is loaded as the registry holds it",
                fields=[FieldProblem(f"$.parameters.{name[:64]}", "No such parameter")],
            )
        await self._serving.load(ctx, asked.model_name)
        return _packed(message("RepositoryModelLoadResponse")())

    async def unload(self, ctx: Context, row: LedgerRow, given: bytes) -> bytes:
        asked = _read("RepositoryModelUnloadRequest", given)
        await self._serving.unload(ctx, asked.model_name)
        return _packed(message("RepositoryModelUnloadResponse")())


def _refusal(error: StanchionError, given: bytes) -> bytes:
    """A refused message of a stream: the error in band, with the id of what was asked if that can be read."""
    told = message("ModelStreamInferResponse")(error_message=f"{error.code}: {redact(error.detail)}")
    with suppress(MalformedRequest):
        told.infer_response.id = _read("ModelInferRequest", given).id
    return _packed(told)


def _read(name: str, given: bytes) -> Any:
    try:
        return message(name).FromString(given)
    except DecodeError as error:
        raise MalformedRequest(
            f"the message is no {name}", next_step="Send it as the protocol describes it."
        ) from error


def _packed(answer: Any) -> bytes:
    """The bytes of a message."""
    content: bytes = answer.SerializeToString()
    return content


def _request(asked: Any) -> InferRequest:
    if len(asked.inputs) > _MOST_TENSORS or len(asked.outputs) > _MOST_TENSORS:
        raise _refused("$.inputs", f"Expected at most {_MOST_TENSORS} tensors")
    raw: Sequence[bytes] = asked.raw_input_contents
    if raw and len(raw) != len(asked.inputs):
        raise _refused("$.raw_input_contents", f"Expected one for each of the {len(asked.inputs)} inputs, or none")
    inputs = [_tensor(each, raw[at] if raw else None, f"$.inputs[{at}]") for at, each in enumerate(asked.inputs)]
    for place, output in enumerate(asked.outputs):
        check_parameters(_parameters(output.parameters), f"$.outputs[{place}].parameters")
    return InferRequest(tuple(inputs), tuple(each.name for each in asked.outputs), binary=bool(raw))


def _tensor(given: Any, raw: bytes | None, path: str) -> Tensor:
    shape = tuple(given.shape)
    check_datatype(given.datatype, path)
    check_shape(shape, path)
    check_parameters(_parameters(given.parameters), f"{path}.parameters")
    held = [field.name for field, _ in given.contents.ListFields()]
    field = _FIELDS.get(given.datatype)
    if raw is not None:
        if held:
            raise _refused(f"{path}.contents", "Expected nothing, as the tensor's bytes are in raw_input_contents")
        return Tensor(given.name, given.datatype, shape, None, raw)
    if field is None:
        raise _refused(f"{path}.contents", f"{given.datatype} is sent in raw_input_contents only")
    if any(name != field for name in held):
        raise _refused(f"{path}.contents", f"Expected {field}, as the datatype is {given.datatype}")
    items = getattr(given.contents, field)
    if given.datatype == "BYTES":
        return Tensor(given.name, given.datatype, shape, None, packed_bytes(items))
    return Tensor(given.name, given.datatype, shape, tuple(items))


def _response(identity: str, answer: InferResponse, *, raw: bool) -> Any:
    told = message("ModelInferResponse")(model_name=answer.model, model_version=answer.version, id=identity)
    for name, text in about(answer).items():
        told.parameters[name].string_param = text
    # The protocol has all outputs as bytes or none, and FP16 has no other form.
    raw = raw or any(each.datatype not in _FIELDS for each in answer.outputs)
    for tensor in answer.outputs:
        output = told.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            told.raw_output_contents.append(tensor.binary())
        elif tensor.datatype == "BYTES":
            output.contents.bytes_contents.extend(str(each).encode() for each in tensor.values())
        else:
            getattr(output.contents, _FIELDS[tensor.datatype]).extend(tensor.values())
    return told


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in given.items():
        chosen = value.WhichOneof("parameter_choice")
        found[name] = None if chosen is None else getattr(value, chosen)
    return found


def _refused(path: str, text: str) -> InvalidInput:
    return InvalidInput(f"{path}: {text}", fields=[FieldProblem(path, text)])
