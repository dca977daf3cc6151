"""Contract methods as bytes: MessagePack of the very types that the contract names.

A stream is a sequence of frames, each one kind byte and a 4-byte big-endian length before its payload. It ends
with an END or an ERROR frame: a connection that closes without either broke off, and the caller is told so.
"""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec

from ..contract import Method, methods
from ..errors import InvalidInput, MalformedRequest, Misconfigured, StanchionError, from_problem

MEDIA_TYPE = "application/vnd.msgpack"
PASSPORT = "x-stanchion-passport"
HEAD = struct.Struct(">BI")
MAX_FRAME = 64 << 20


class Kind(IntEnum):
    """What a frame holds."""

    ITEM = 0
    END = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Wire:
    """One method's two codecs; arguments travel as a mapping by name, absent ones take their default."""

    method: Method
    path: str
    decode_arguments: Callable[[bytes], Any]
    decode_result: Callable[[bytes], Any]


def wires(name: str, contract: type[Any]) -> tuple[Wire, ...]:
    """The methods of the contract that module `name` offers, ready to travel.

    Raises Misconfigured where a type has no form on the wire.
    """
    return tuple(_wire(name, method) for method in methods(contract))


def _wire(name: str, method: Method) -> Wire:
    parameters = method.signature.parameters
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for argument, kind in method.arguments.items():
        default = parameters[argument].default
        # Required fields may follow optional ones: the struct is keyword-only.
        fields.append((argument, kind) if default is inspect.Parameter.empty else (argument, kind, default))
    try:
        arguments = msgspec.defstruct(f"{method.name}_arguments", fields, kw_only=True, forbid_unknown_fields=True)
        decode_arguments = msgspec.msgpack.Decoder(arguments).decode
        decode_result = msgspec.msgpack.Decoder(method.result).decode
    except TypeError as error:
        raise Misconfigured(f"{name}.{method.name} has a type that cannot travel: {error}") from error
    return Wire(method, f"/{name}/{method.name}", decode_arguments, decode_result)


def pack_arguments(wire: Wire, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """The call's arguments, bound as Python would bind them. Raises TypeError as a local call does; InvalidInput."""
    bound = wire.method.signature.bind(None, None, *args, **kwargs)
    try:
        return msgspec.msgpack.encode({k: v for k, v in bound.arguments.items() if k in wire.method.arguments})
    except (OverflowError, UnicodeEncodeError) as error:
        raise InvalidInput(f"an argument of {wire.path} cannot be sent: {error}") from error


def unpack_arguments(wire: Wire, body: bytes) -> dict[str, Any]:
    """The keyword arguments for the service's method. Raises MalformedRequest."""
    try:
        given = wire.decode_arguments(body)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise MalformedRequest(f"the arguments of {wire.path} cannot be read: {error}") from error
    return {name: getattr(given, name) for name in wire.method.arguments}


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """One frame of a stream."""
    return HEAD.pack(kind, len(payload)) + payload


def pack_error(error: StanchionError) -> bytes:
    """An error as its problem document."""
    return msgspec.msgpack.encode(error.problem())


def unpack_error(payload: bytes) -> StanchionError:
    """The error that the far side raised; bytes that are none become a plain StanchionError."""
    try:
        document = msgspec.msgpack.decode(payload, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return StanchionError("the far side answered with something that is no problem document")
    return from_problem(document)
