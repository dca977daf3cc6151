"""Base64 as callers send it, bounded and checked; and the one way in which a medium is refused."""

from __future__ import annotations

import base64
import binascii

from ...core.errors import FieldProblem, InvalidInput


def content(text: str, path: str, *, most_bytes: int) -> bytes:
    """The bytes of a base64 text, with or without a `data:` prefix. Raises InvalidInput; nothing is decoded beyond
    the limit."""
    if text.startswith("data:"):
        text = text[: 128 + most_bytes * 2].partition(",")[2]
    if len(text) > (most_bytes + 2) // 3 * 4:
        raise refused(path, f"Expected at most {most_bytes} bytes")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refused(path, "Expected base64") from error


def refused(path: str, message: str) -> InvalidInput:
    """The refusal of one field."""
    return InvalidInput(f"{path}: {message}", fields=[FieldProblem(path, message)])
