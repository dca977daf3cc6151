"""What holds for every key-value engine: the shape of keys, lifetimes and counters."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...errors import Conflict, InvalidInput

KEY_BYTES = 512
LONGEST_TTL = 100 * 365 * 86_400.0
_MOST = 2**63 - 1
_COUNTER = re.compile(rb"0|-?[1-9][0-9]{0,18}")


def check_keys(keys: Iterable[str]) -> None:
    """Raises InvalidInput for a key of more than 512 bytes in UTF-8, or with no UTF-8 at all."""
    for key in keys:
        if key.isascii():
            size = len(key)
        else:
            try:
                size = len(key.encode())
            except UnicodeEncodeError as error:
                raise InvalidInput("a key holds a lone surrogate, which UTF-8 cannot express") from error
        if size > KEY_BYTES:
            raise InvalidInput(f"a key has {size} bytes; the limit is {KEY_BYTES}")


def check_ttl(ttl: float | None) -> None:
    """Raises InvalidInput unless `ttl` is None, or more than 0 and at most 100 years in seconds."""
    if ttl is not None and not 0 < ttl <= LONGEST_TTL:
        raise InvalidInput(f"a lifetime must be more than 0 and at most {LONGEST_TTL:.0f} seconds, not {ttl}")


def check_by(by: int) -> None:
    """Raises InvalidInput for a step that is no signed 64-bit number."""
    if not -_MOST - 1 <= by <= _MOST:
        raise InvalidInput("a counter's step must fit in 64 bits")


def total(value: bytes | None, by: int) -> int:
    """The counter's next value. A counter is stored as Redis stores it: in decimal, without leading zeros.

    Raises Conflict if the value is no counter, or the sum does not fit in 64 bits.
    """
    if value is None:
        return by
    if not _COUNTER.fullmatch(value) or not -_MOST - 1 <= int(value) <= _MOST:
        raise not_a_counter()
    if not -_MOST - 1 <= (result := int(value) + by) <= _MOST:
        raise overflow()
    return result


def not_a_counter() -> Conflict:
    return Conflict("the value under the key is not a counter", next_step="Use another key, or delete this one.")


def overflow() -> Conflict:
    return Conflict("the counter would pass 64 bits", next_step="Use a smaller step, or delete the counter.")
