"""The rules of an event's attributes, the same for every format: names, types, and what each may hold.

Source: CloudEvents 1.0.2, sections "Naming Conventions", "Type System" and "Context Attributes".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ...core.errors import FieldProblem
from .media import is_media_type
from .references import is_absolute, is_reference
from .times import parsed

Value = str | int | bool
REQUIRED = ("specversion", "id", "source", "type")
OPTIONAL = ("datacontenttype", "dataschema", "subject", "time")
CORE = frozenset((*REQUIRED, *OPTIONAL))
SPECVERSION = "1.0"
LONGEST = 8 << 10
_NAME = re.compile(r"[a-z0-9]+")
_INTEGER = 1 << 31
# Control characters, noncharacters of the basic plane, and halves of surrogate pairs; the other planes' in `_is_text`.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def faults_of(attributes: Mapping[str, object], place: Callable[[str], str]) -> list[FieldProblem]:
    """Everything that is wrong with the attributes; `place` gives an attribute's path. None as a value is absence."""
    found = [(name, fault) for name, value in attributes.items() if (fault := _fault(name, value))]
    missing = [(n, "is required and is not there") for n in REQUIRED if attributes.get(n) is None]
    return [FieldProblem(place(name), message) for name, message in (*missing, *found)]


def _fault(name: str, value: object) -> str | None:
    if name not in CORE and (fault := name_fault(name)):
        return fault
    if value is None:
        return None
    if name in CORE:
        if not isinstance(value, str):
            return "is not a string"
        return text_fault(value) or ("is empty" if not value else _KINDS.get(name, _nothing)(value))
    return value_fault(value) or ("is empty" if name == "partitionkey" and value == "" else None)


def name_fault(name: str) -> str | None:
    """What is wrong with the name of an extension, if anything."""
    if _NAME.fullmatch(name) is None:
        return "is no attribute name: a name is of lower-case letters a-z and digits"
    return "is no attribute name: `data` is the event's payload" if name == "data" else None


def value_fault(value: object) -> str | None:
    """What is wrong with the value of an extension, if anything: it is a string, a Boolean or a 32-bit integer."""
    if isinstance(value, str):
        return text_fault(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if -_INTEGER <= value < _INTEGER else "is an integer of more than 32 bits"
    return "is not a string, a Boolean or an integer"


def text_fault(text: str) -> str | None:
    """What is wrong with a string, if anything: no control characters, no noncharacters, no broken pairs."""
    if len(text) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if text.isascii() and text.isprintable():
        return None
    if _FORBIDDEN.search(text) or any(ord(c) & 0xFFFE == 0xFFFE for c in text):
        return "holds a control character or what is no character"
    return None


def _version(value: str) -> str | None:
    return None if value == SPECVERSION else f"is {value[:20]!r}; only version {SPECVERSION} is taken"


def _time(value: str) -> str | None:
    try:
        parsed(value)
    except ValueError as error:
        return str(error)
    return None


def _nothing(value: str) -> str | None:
    return None


_KINDS: Mapping[str, Callable[[str], str | None]] = {
    "specversion": _version,
    "source": lambda value: None if is_reference(value) else "is no URI-reference",
    "dataschema": lambda value: None if is_absolute(value) else "is no absolute URI",
    "datacontenttype": lambda value: None if is_media_type(value) else "is no media type such as application/json",
    "time": _time,
}
