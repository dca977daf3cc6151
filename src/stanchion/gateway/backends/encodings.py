"""Bodies that an upstream compresses although it was asked for plain ones."""

from __future__ import annotations

import zlib

from ...core.errors import Unavailable

# As zlib counts: 16 more for gzip's head, 32 more for whichever of the two it is.
_EITHER = 32 + zlib.MAX_WBITS


class Unpacked:
    """Unpacks one body as it comes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._unpacking = zlib.decompressobj(_EITHER)
        self._begun = False

    def feed(self, data: bytes, most: int) -> bytes:
        """What these bytes hold, of which at most so many are made. Raises Unavailable for what cannot be unpacked."""
        self._begun = True
        try:
            plain = self._unpacking.decompress(data, max(1, most))
        except zlib.error as error:
            raise Unavailable(f"the upstream {self._name} sent a body that cannot be unpacked") from error
        if self._unpacking.unused_data:
            raise Unavailable(f"the upstream {self._name} sent more than the one body that it packed")
        return plain

    def close(self) -> None:
        """The body has ended. Raises Unavailable where what was packed has not."""
        if self._begun and not self._unpacking.eof:
            raise Unavailable(f"the upstream {self._name} cut its answer off")


def unpacked(encoding: str, name: str) -> Unpacked:
    """For a body of the upstream `name`. Raises Unavailable for an encoding that it was not asked for."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise Unavailable(f"the upstream {name} answered in the encoding {encoding!r:.40}, which it was not asked for")
    return Unpacked(name)
