"""JSON in the one form that is digested: RFC 8785 (JSON Canonicalization Scheme).

Names in the order of their UTF-16 code units, no white space, numbers as ECMAScript writes them, UTF-8.
"""

from __future__ import annotations

import hashlib
import math
from decimal import Decimal

from ..core.errors import InvalidInput
from ..core.values import Json

_LARGEST = 2**53 - 1
_HUGE = 10**21
_DEEPEST = 64
_ESCAPED = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_ESCAPES = {code: _ESCAPED.get(code, f"\\u{code:04x}") for code in (*range(32), 34, 92)}


def canonical(value: Json) -> bytes:
    """The canonical bytes. Raises InvalidInput for what I-JSON cannot hold: NaN, infinity, integers that a
    double does not hold, lone surrogates, names that are no text, more than 64 levels."""
    try:
        return _text(value, _DEEPEST).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput("a text holds half of a surrogate pair, which JSON in UTF-8 cannot carry") from error


def digest(value: Json) -> str:
    """The SHA-256 of the canonical bytes, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _text(value: object, depth: int) -> str:
    if depth < 0:
        raise InvalidInput(f"a value is nested more than {_DEEPEST} levels deep")
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(item, depth - 1) for item in value) + "]"
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise InvalidInput("an object has a name that is no text")
        # By UTF-16 code units, which big-endian bytes order alike; Python's own order is by code points.
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_quoted(name)}:{_text(value[name], depth - 1)}" for name in names) + "}"
    raise InvalidInput(f"a {type(value).__name__} is no JSON value")


def _quoted(text: str) -> str:
    return '"' + text.translate(_ESCAPES) + '"'


def _integer(value: int) -> str:
    text = str(value) if abs(value) < _HUGE else ""
    # What a double does not hold is read differently by different readers; what it holds is written as the double is.
    if abs(value) > _LARGEST and (not text or _number(float(value)) != text):
        raise InvalidInput(
            f"an integer of {value.bit_length()} bits is beyond what all readers of JSON read alike",
            next_step="Send such numbers as text.",
        )
    return text


def _number(value: float) -> str:
    """As ECMAScript's Number::toString: the shortest digits, an exponent only below 1e-6 and from 1e21 on."""
    if not math.isfinite(value):
        raise InvalidInput("JSON has no NaN and no infinity")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    # Python's repr gives the shortest digits that read back as the same number, as ECMAScript asks.
    parts = Decimal(repr(abs(value))).normalize().as_tuple()
    digits = "".join(map(str, parts.digits))
    count = len(digits)
    point = count + int(parts.exponent)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    exponent = point - 1
    head = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{sign}{head}e{'+' if exponent >= 0 else '-'}{abs(exponent)}"
