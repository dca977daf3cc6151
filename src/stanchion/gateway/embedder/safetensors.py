"""Reads weights from the safetensors format: a JSON head with places, then numbers. Nothing in it is run.

Source: the format's description in the safetensors project.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...core.errors import InvalidInput

Weights = Mapping[str, NDArray[np.float32]]
_MOST_HEAD = 10 << 20
_SIZES = {"F32": 4, "F16": 2}


class _Place(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def read(content: bytes) -> Weights:
    """The tensors of 32- and 16-bit floats by name, without others. Raises InvalidInput for what is no such file."""
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= min(_MOST_HEAD, len(content) - 8):
        raise InvalidInput("the file of weights has no head")
    body = memoryview(content)[8 + length :]
    try:
        head: dict[str, Any] = msgspec.json.decode(content[8 : 8 + length])
        head.pop("__metadata__", None)
        places = msgspec.convert(head, dict[str, _Place])
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"the head of the file of weights cannot be read: {error}") from error
    return {name: _tensor(name, place, body) for name, place in places.items() if place.dtype in _SIZES}


def _tensor(name: str, place: _Place, body: memoryview) -> NDArray[np.float32]:
    start, end = place.data_offsets
    size = math.prod(place.shape) * _SIZES[place.dtype]
    if min(place.shape, default=1) < 0 or not 0 <= start <= end <= len(body) or end - start != size:
        raise InvalidInput(f"the weights {name[:80]!r} lie outside of their file")
    kind = "<f4" if place.dtype == "F32" else "<f2"
    return np.frombuffer(body[start:end], dtype=kind).reshape(place.shape).astype(np.float32, copy=False)
