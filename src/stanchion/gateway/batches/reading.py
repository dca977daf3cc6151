"""The lines of a file of calls: what each asks for, or what is wrong with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

import msgspec

from ...core.errors import StanchionError
from ...core.http.strict import check_json
from ..wire.peek import Peek

_LARGEST = 8 << 20
_LONGEST_ID = 512
_CHUNK = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stands in the file. `number` counts from 1."""

    number: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """A sound line. `body` is the client's JSON document, byte for byte."""

    number: int
    custom_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that asks for nothing that can be done. `custom_id` is empty where it has none."""

    number: int
    custom_id: str
    message: str


class _Request(msgspec.Struct, frozen=True):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


_decode = msgspec.json.Decoder(_Request).decode


async def lines_of(parts: AsyncIterator[bytes]) -> AsyncGenerator[Sequence[Line], None]:
    """The lines that are not blank, some at a time."""
    rest, number = b"", 0
    found: list[Line] = []
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        for raw in whole:
            number += 1
            if raw.strip():
                found.append(Line(number, raw))
            if len(found) >= _CHUNK:
                yield found
                found = []
    if rest.strip():
        found.append(Line(number + 1, rest))
    if found:
        yield found


def read_line(line: Line, endpoint: str) -> Wanted | BadLine:
    """What a line asks for."""
    raw = line.raw.removeprefix(b"\xef\xbb\xbf") if line.number == 1 else line.raw
    if len(raw) > _LARGEST:
        return BadLine(line.number, "", f"the line exceeds {_LARGEST} bytes")
    try:
        check_json(raw)
        found = _decode(raw)
    except StanchionError as error:
        return BadLine(line.number, "", error.detail)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return BadLine(line.number, "", f"not a request with custom_id, method, url and body: {error}")
    custom_id = found.custom_id if len(found.custom_id) <= _LONGEST_ID else ""
    wrong = _wrong(found, endpoint)
    return BadLine(line.number, custom_id, wrong) if wrong else Wanted(line.number, custom_id, bytes(found.body))


def _wrong(found: _Request, endpoint: str) -> str:
    """What is wrong with a request, or nothing."""
    if not found.custom_id or len(found.custom_id) > _LONGEST_ID:
        return f"custom_id has 1 to {_LONGEST_ID} characters"
    if found.method != "POST":
        return "the method is POST"
    if found.url != endpoint:
        return f"the url is the endpoint of the batch, {endpoint}"
    try:
        peek = Peek(bytes(found.body))
        if peek.stream:
            return "a batch has no streams: leave `stream` out"
        if not peek.model:
            return "the body names no model"
    except StanchionError as error:
        return error.detail
    return ""


class Checker:
    """Checks the lines of one file in order: a custom_id stands in it once."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._seen: dict[str, int] = {}

    def check(self, lines: Sequence[Line]) -> tuple[int, list[BadLine]]:
        """How many of these lines are sound, and the others."""
        bad: list[BadLine] = []
        for line in lines:
            found = read_line(line, self._endpoint)
            if isinstance(found, BadLine):
                bad.append(found)
            elif found.custom_id in self._seen:
                told = f"the custom_id stands in line {self._seen[found.custom_id]} as well"
                bad.append(BadLine(found.number, found.custom_id, told))
            else:
                self._seen[found.custom_id] = found.number
        return len(lines) - len(bad), bad
