"""The lines between a worker and its parent: one JSON document each, told apart by `kind`."""

from __future__ import annotations

from typing import Any, assert_never

import msgspec

from ...core.errors import StanchionError, from_problem
from ..ports import Job, Package, Progress, Spine


class _Line(msgspec.Struct):
    kind: str
    body: msgspec.Raw


def encode_job(job: Job) -> bytes:
    """The line that starts a worker."""
    return msgspec.json.encode(job) + b"\n"


def decode_job(line: bytes) -> Job:
    """The job of that line."""
    return msgspec.json.decode(line, type=Job)


def encode(message: Progress | Spine | Package | StanchionError) -> bytes:
    """One line of a worker's answer."""
    body: Any = message
    match message:
        case Progress():
            kind = "progress"
        case Spine():
            kind = "spine"
        case Package():
            kind = "package"
        case StanchionError():
            kind, body = "problem", message.problem()
        case _:
            assert_never(message)
    return msgspec.json.encode({"kind": kind, "body": body}) + b"\n"


def decode(line: bytes) -> Progress | Spine | Package:
    """What a worker's line says. Raises the error it tells of, and ValueError for a line that is none."""
    try:
        parsed = msgspec.json.decode(line, type=_Line)
        match parsed.kind:
            case "progress":
                return msgspec.json.decode(parsed.body, type=Progress)
            case "spine":
                return msgspec.json.decode(parsed.body, type=Spine)
            case "package":
                return msgspec.json.decode(parsed.body, type=Package)
            case "problem":
                problem = msgspec.json.decode(parsed.body, type=dict[str, Any])
            case _:
                raise ValueError(f"a worker's line of unknown kind {parsed.kind!r}")
    except msgspec.MsgspecError as error:
        raise ValueError("a worker's line that cannot be read") from error
    raise from_problem(problem)
