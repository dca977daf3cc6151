"""Events in binary mode: attributes in the headers of HTTP or the user properties of MQTT, data as the body.

Source: CloudEvents 1.0.2, HTTP Protocol Binding (sections 3.1 and 3.1.3.2) and MQTT Protocol Binding (section 3.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from ...core.errors import FieldProblem, MalformedRequest
from ...core.http.strict import check_json
from ..contract.event import Event
from .attributes import SPECVERSION, faults_of
from .media import is_json, is_media_type
from .structured import made_of, optional, refused

PREFIX = "ce-"
UNKNOWN = "application/octet-stream"
_TRIPLET = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"\\(.)")
# All that is printable in ASCII but the quotation mark and the percent sign; the space is escaped as well.
_PLAIN = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')


def is_binary(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the headers are those of an event in binary mode."""
    return any(name == b"ce-specversion" for name, _ in headers)


def read(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Event:
    """The event of an HTTP message, with header names in lower case.

    Raises InvalidInput with every fault's header. A body without a Content-Type is bytes of no known type.
    """
    attributes: dict[str, object] = {}
    faults: list[FieldProblem] = []
    content_type = None
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1").strip()
        elif name.startswith(b"ce-"):
            header = name.decode("latin-1")
            attribute = header.removeprefix(PREFIX)
            if attribute in attributes:
                faults.append(FieldProblem(header, "is given twice"))
            elif attribute == "datacontenttype":
                faults.append(FieldProblem(header, "is not for binary mode, where Content-Type says it"))
            else:
                try:
                    attributes[attribute] = decoded(value.decode("latin-1"))
                except ValueError as error:
                    faults.append(FieldProblem(header, str(error)))
                    attributes[attribute] = "?"
    placed = faults_of(attributes, lambda name: PREFIX + name)
    named = {fault.path for fault in faults}
    faults += [fault for fault in placed if fault.path not in named]
    return made(attributes, faults, body, content_type)


def from_properties(properties: Sequence[tuple[str, str]], body: bytes, content_type: str | None) -> Event:
    """The event of an MQTT 5 message: attributes are its user properties. Raises as `read` does."""
    attributes: dict[str, object] = {}
    faults: list[FieldProblem] = []
    for name, value in properties:
        if name in attributes:
            faults.append(FieldProblem(name, "is given twice"))
        elif name == "datacontenttype":
            faults.append(FieldProblem(name, "is not for binary mode, where the content type says it"))
        else:
            attributes[name] = value
    return made(attributes, faults + faults_of(attributes, str), body, content_type)


def made(attributes: dict[str, object], faults: list[FieldProblem], body: bytes, content_type: str | None) -> Event:
    """The event of attributes with the faults found in them, and of its data."""
    if content_type is not None and not is_media_type(content_type):
        faults.append(FieldProblem("content-type", "is no media type such as application/json"))
    elif body and content_type is not None and is_json(content_type):
        try:
            check_json(body)
        except MalformedRequest as error:
            faults.append(FieldProblem("data", f"is not the JSON that its type promises: {error.detail}"))
    if faults:
        raise refused(faults)
    # An empty body is empty text, but no JSON.
    data = body if body or (content_type is not None and not is_json(content_type)) else None
    return made_of(attributes, data=data, content_type=content_type or UNKNOWN)


def written(event: Event) -> tuple[list[tuple[str, str]], bytes]:
    """The headers and the body of an HTTP message in binary mode."""
    given = {"specversion": SPECVERSION, "id": event.id, "source": event.source, "type": event.type, **optional(event)}
    content_type = given.pop("datacontenttype", None)
    headers = [(PREFIX + name, encoded(_plain(value))) for name, value in given.items()]
    if content_type is not None:
        headers.append(("content-type", str(content_type)))
    return headers, event.data or b""


def _plain(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def encoded(text: str) -> str:
    """The text as the value of a header: what is not printable ASCII is escaped by percent, byte for byte in UTF-8."""
    return quote(text, safe=_PLAIN)


def decoded(value: str) -> str:
    """The text that a header's value stands for. Raises ValueError that says what is wrong."""
    value = value.strip(" \t")
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = _ESCAPE.sub(r"\1", value[1:-1])
    if not value.isascii():
        raise ValueError("holds a character that is not ASCII and not escaped by percent")
    if "%" not in value:
        return value
    if _TRIPLET.search(value):
        raise ValueError("has a percent sign without two hexadecimal digits behind it")
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), value.encode())
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8 once its percent signs are read") from error
