"""Requests and answers of the Open Inference Protocol over HTTP: JSON, or JSON with the tensors' bytes behind it.

Sources: Open Inference Protocol 2 (https://github.com/kserve/open-inference-protocol) and Triton's binary tensor data
extension, in which the header Inference-Header-Content-Length says where the JSON ends and `binary_data_size` of each
tensor how many of the bytes that follow are its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import msgspec

from ...core.errors import FieldProblem, InvalidInput, MalformedRequest
from ...core.http.routes import decoded
from ...core.http.strict import check_json, is_kept
from ..contract.repository import InferRequest, InferResponse
from ..contract.tensors import Tensor
from .elements import check_datatype, check_shape, elements, plain_elements

_MOST_TENSORS = 1024
_MICROSECONDS = 1_000_000
_REFUSED = {
    "classification": "Classification is not offered; ask for the tensor itself",
    "shared_memory_region": "Shared memory is not offered; send the tensor itself",
}
_STATEFUL = ("sequence_id", "sequence_start", "sequence_end")
_NONE: Mapping[str, bool] = MappingProxyType({})
_ONE = (1, 1)
_encode = msgspec.json.Encoder().encode

Parameters = dict[str, Any] | None
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Input(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: Name
    shape: list[int]
    datatype: str
    parameters: Parameters = None
    data: msgspec.Raw = msgspec.Raw(b"")


class _Output(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: Name
    parameters: Parameters = None
    # MLServer's and KServe's clients repeat here what they know of the tensor; the answer's own count.
    datatype: str | None = None
    shape: list[int] | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class _Request(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    inputs: Annotated[list[_Input], msgspec.Meta(max_length=_MOST_TENSORS)]
    id: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    # KServe's client repeats here what its path says.
    model_name: str | None = None
    parameters: Parameters = None
    outputs: Annotated[list[_Output], msgspec.Meta(max_length=_MOST_TENSORS)] | None = None


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An input as most are: its elements in JSON, flat or in rows."""

    name: Name
    shape: list[int]
    datatype: str
    data: list[Any]


class _PlainRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    inputs: Annotated[list[_Plain], msgspec.Meta(max_length=_MOST_TENSORS)]
    id: Annotated[str, msgspec.Meta(max_length=512)] | msgspec.UnsetType = msgspec.UNSET


_NAMES = len(_Plain.__struct_fields__)
_DECODER = msgspec.json.Decoder(_Request)
_decode_plain = msgspec.json.Decoder(_PlainRequest).decode


class Asked(NamedTuple):
    """A request as read. `binary` names the outputs wanted as bytes; None means all or none, as `binary_all` says.

    `seconds` is the time limit that came with it, None without one. `model` is the name that it repeats, if it does.
    """

    request: InferRequest
    model: str | None
    id: str
    binary_all: bool
    binary: Mapping[str, bool]
    seconds: float | None


class Told(NamedTuple):
    """An answer's bytes; `json_bytes` is the length of the JSON at their head where tensors follow it, else None."""

    content: bytes
    json_bytes: int | None


def read(body: bytes, header_length: bytes | None) -> Asked:
    """The request in a body. Raises MalformedRequest, InvalidInput with the places of what is wrong."""
    size = len(body) if header_length is None else _json_size(header_length, len(body))
    if size == len(body) and (plain := _plain(body)) is not None:
        return plain
    head = body if size == len(body) else body[:size]
    check_json(head)
    given = decoded(head, _DECODER)
    tensors = _tensors(given.inputs, memoryview(body)[size:])
    everything, seconds = False, None
    if parameters := given.parameters:
        check_parameters(parameters, "$.parameters", stateful=True)
        everything = _flag(parameters, "binary_data_output", "$.parameters")
        seconds = time_limit(parameters.get("timeout"))
    binary = {each.name: _wants_bytes(each, place, everything) for place, each in enumerate(given.outputs or ())}
    return Asked(
        model=given.model_name,
        request=InferRequest(tensors, tuple(binary), binary=any(binary.values()) if binary else everything),
        id=given.id or "",
        binary_all=everything,
        binary=binary,
        seconds=seconds,
    )


def _plain(body: bytes) -> Asked | None:
    """The request in a body that has inputs of plain elements and nothing else; None for every other one.

    Whatever is not as expected is left to the longer way, which knows its place and its words. Here the body is read
    once, into the very types, which bound its depth.
    """
    try:
        given = _decode_plain(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # A name that is lost leaves its colon behind; more colons than names may be those of texts.
    names = 1 + _NAMES * len(given.inputs) + (given.id is not msgspec.UNSET)
    if body.count(b":") != names and not is_kept(body, given):
        return None
    tensors = []
    for each in given.inputs:
        shape = tuple(each.shape)
        data = plain_elements(each.data, each.datatype, shape)
        if data is None or (shape != _ONE and (len(shape) > 2 or min(shape, default=0) < 0)):
            return None
        tensors.append(Tensor(each.name, each.datatype, shape, data))
    return Asked(InferRequest(tuple(tensors), (), binary=False), None, given.id or "", False, _NONE, None)


def write(asked: Asked, answer: InferResponse) -> Told:
    """The answer as the request wants it: each output as JSON or as bytes."""
    blobs: list[bytes] = []
    outputs = []
    for tensor in answer.outputs:
        told: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if asked.binary.get(tensor.name, asked.binary_all):
            blobs.append(tensor.binary())
            told["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            told["data"] = tensor.values()
        outputs.append(told)
    document: dict[str, Any] = {
        "model_name": answer.model,
        "model_version": answer.version,
        "parameters": about(answer),
        "outputs": outputs,
    }
    if asked.id:
        document["id"] = asked.id
    head = _encode(document)
    return Told(b"".join((head, *blobs)), len(head)) if blobs else Told(head, None)


def about(answer: InferResponse) -> dict[str, str]:
    """What the answer says of itself beyond the protocol: the rung that served it, the arm of a rollout."""
    found = {"served_by": answer.served_by}
    if answer.arm:
        found["arm"] = answer.arm
    if answer.tried:
        found["tried"] = ",".join(answer.tried)
    return found


def time_limit(microseconds: object) -> float | None:
    """Seconds from the parameter `timeout`, which clients send in microseconds. Raises InvalidInput."""
    if microseconds is None:
        return None
    if isinstance(microseconds, bool) or not isinstance(microseconds, int | float) or microseconds <= 0:
        raise _refused("$.parameters.timeout", "Expected microseconds, more than 0")
    return microseconds / _MICROSECONDS


def _json_size(header: bytes, body: int) -> int:
    if not header.isdigit() or len(header) > 12 or not 0 < int(header) <= body:
        raise MalformedRequest(
            "Inference-Header-Content-Length is not the number of bytes of a JSON document at the head of the body",
            next_step="Send the length in bytes of the JSON part, which must not be empty.",
        )
    return int(header)


def _tensors(inputs: Sequence[_Input], blobs: memoryview) -> tuple[Tensor, ...]:
    found, used = [], 0
    for place, each in enumerate(inputs):
        path, size = f"$.inputs[{place}]", None
        check_datatype(each.datatype, path)
        check_shape(each.shape, path)
        if each.parameters:
            check_parameters(each.parameters, f"{path}.parameters")
            size = each.parameters.get("binary_data_size")
        shape = tuple(each.shape)
        if size is None:
            if not each.data:
                raise _refused(f"{path}.data", "Required, and missing")
            data = elements(each.data, each.datatype, shape, path)
            found.append(Tensor(each.name, each.datatype, shape, data))
            continue
        if each.data or isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(blobs) - used:
            raise _refused(
                f"{path}.parameters.binary_data_size",
                "Expected the number of this tensor's bytes behind the JSON, and no data beside it",
            )
        found.append(Tensor(each.name, each.datatype, shape, None, bytes(blobs[used : used + size])))
        used += size
    if used != len(blobs):
        raise MalformedRequest(f"{len(blobs) - used} bytes behind the JSON belong to no tensor")
    return tuple(found)


def _wants_bytes(output: _Output, place: int, otherwise: bool) -> bool:
    parameters, path = output.parameters or {}, f"$.outputs[{place}].parameters"
    check_parameters(parameters, path)
    return _flag(parameters, "binary_data", path, otherwise=otherwise)


def _flag(parameters: Mapping[str, Any], name: str, path: str, *, otherwise: bool = False) -> bool:
    value = parameters.get(name, otherwise)
    if not isinstance(value, bool):
        raise _refused(f"{path}.{name}", "Expected true or false")
    return value


def check_parameters(parameters: Mapping[str, Any], path: str, *, stateful: bool = False) -> None:
    """Raises InvalidInput for a parameter that asks for what is not offered; those that ask for nothing may stay."""
    for name, message in _REFUSED.items():
        if parameters.get(name):
            raise _refused(f"{path}.{name}", message)
    for name in _STATEFUL:
        if stateful and parameters.get(name):
            raise _refused(f"{path}.{name}", "Sequences are not offered: no model here keeps state between calls")


def _refused(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path}: {message}", fields=[FieldProblem(path, message)])
