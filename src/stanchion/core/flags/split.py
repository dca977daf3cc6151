"""The one percentage split: flags, canaries, A/B tests and shadow traffic all put a unit on the same scale.

The point of a unit is BLAKE2b-64 over the netstring of the salt followed by the unit, as a big-endian number scaled to
0..99,999. It is the same in every process, version and language; golden values in the tests pin it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ..errors import InvalidInput

POINTS = 100_000


def bucket(salt: str, unit: str) -> int:
    """The unit's point under this salt: 0 to 99,999, uniform, independent between salts."""
    name = salt.encode()
    digest = hashlib.blake2b(b"%d:%s,%s" % (len(name), name, unit.encode()), digest_size=8).digest()
    return int.from_bytes(digest) * POINTS >> 64


def choose(salt: str, unit: str, shares: Mapping[str, float]) -> str:
    """The name whose share holds the unit; shares are weights of any scale.

    Names lie on the scale in the order of their code points, so the order of the mapping does not matter. While one
    share of the whole grows and no other does, no unit leaves it. Raises InvalidInput for negative or no weights.
    """
    total = check_shares(shares)
    point = bucket(salt, unit) * total
    passed = 0.0
    for name in sorted(shares):
        passed += shares[name] * POINTS
        if point < passed:
            return name
    # Only reached when rounding makes the sum of the parts smaller than the whole.
    return max(name for name, share in shares.items() if share > 0)


def check_shares(shares: Mapping[str, float]) -> float:
    """The sum of the weights. Raises InvalidInput if one is negative or none is above 0."""
    total = sum(shares.values())
    if not 0 < total < float("inf") or min(shares.values()) < 0:
        raise InvalidInput("shares must be weights of at least 0, one of them more")
    return total
