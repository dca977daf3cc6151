"""How an API key is written: `st_ID_SECRET_CHECK`.

`st_` lets secret scanners find leaked keys, the id names the key without a look-up, and the checksum refuses typing
errors before any work is done. Everything after the prefix is base 62, so a double click selects a key whole.
"""

from __future__ import annotations

import hmac
import re
import secrets
import zlib
from typing import NamedTuple

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID, _SECRET, _CHECK = 12, 43, 6
ID_PLACE = slice(3, 3 + _ID)
_SHAPE = re.compile(rf"(st_([0-9A-Za-z]{{{_ID}}})_[0-9A-Za-z]{{{_SECRET}}})_([0-9A-Za-z]{{{_CHECK}}})")


class FreshKey(NamedTuple):
    """A key just drawn: its public id and the whole key."""

    id: str
    secret: str


def new_key() -> FreshKey:
    """A key of 256 random bits under an id of 71 random bits."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID))
    body = f"st_{key_id}_{_base62(int.from_bytes(secrets.token_bytes(32)), _SECRET)}"
    return FreshKey(key_id, f"{body}_{_checksum(body)}")


def id_of(key: str) -> str | None:
    """The public id of a key that is written correctly, else None."""
    match = _SHAPE.fullmatch(key)
    return match[2] if match is not None and match[3] == _checksum(match[1]) else None


def digest_of(key: str, pepper: bytes) -> bytes:
    """What is stored of a key or session token: HMAC-SHA256 under the server's pepper.

    A slow hash would add nothing: 256 random bits cannot be guessed, and the pepper is not in the database.
    """
    return hmac.digest(pepper, key.encode(), "sha256")


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, rest = divmod(number, 62)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))
