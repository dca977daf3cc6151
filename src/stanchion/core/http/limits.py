"""Refuses requests that the server in front lets through and that no honest client sends.

Checked for every request, before anything is authenticated: Host (exactly one, RFC 9110 section 7.2), header
size and number, HTTP/1.0 with Transfer-Encoding, methods, and the size of the body as it arrives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from ..errors import DeadlineExceeded, MalformedRequest, PayloadTooLarge

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 << 10
MAX_TARGET_BYTES = 8 << 10
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def check_head(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """Raises MalformedRequest or PayloadTooLarge if the request line or the headers are not acceptable.

    `headers` are those of the scope by name, in lower case as servers give them.
    """
    given: Sequence[tuple[bytes, bytes]] = scope["headers"]
    if len(given) > MAX_HEADERS:
        raise PayloadTooLarge(f"more than {MAX_HEADERS} headers")
    host = headers.get(b"host")
    if host is not None and not _HOST.fullmatch(host):
        raise MalformedRequest("the Host header is not a host name")
    if host is None and scope.get("http_version") != "2":
        raise MalformedRequest("a request has exactly one Host header")
    if len(headers) < len(given):
        _check_repeated([name for name, _ in given])
    if b"transfer-encoding" in headers and scope.get("http_version") == "1.0":
        raise MalformedRequest("HTTP/1.0 has no Transfer-Encoding")
    if sum(map(len, chain.from_iterable(given))) > MAX_HEADER_BYTES:
        raise PayloadTooLarge(f"the headers exceed {MAX_HEADER_BYTES} bytes")
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
        raise PayloadTooLarge(f"the request target exceeds {MAX_TARGET_BYTES} bytes")


def _check_repeated(names: Sequence[bytes]) -> None:
    if names.count(b"host") > 1:
        raise MalformedRequest("a request has exactly one Host header")
    if names.count(b"content-length") > 1:
        raise MalformedRequest("a request has at most one Content-Length header")


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body, as soon as it has arrived. Raises PayloadTooLarge, MalformedRequest if it breaks off."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise MalformedRequest("the client went away")
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise PayloadTooLarge(f"the body exceeds {limit} bytes")
        return body
    parts, size = [body], len(body)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedRequest("the client went away before the body was complete")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise PayloadTooLarge(f"the body exceeds {limit} bytes")
        if not message.get("more_body", False):
            return b"".join(parts)


def time_limit(value: bytes | None, *, most: float) -> float | None:
    """Seconds from a Request-Timeout header, at most `most`. Raises MalformedRequest, DeadlineExceeded."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError as error:
        raise MalformedRequest("Request-Timeout is a number of seconds") from error
    if not seconds < float("inf"):
        raise MalformedRequest("Request-Timeout is a finite number of seconds")
    if seconds <= 0:
        raise DeadlineExceeded("Request-Timeout left no time")
    return min(seconds, most)
