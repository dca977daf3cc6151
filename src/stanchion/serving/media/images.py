"""Images as arrays of bytes, decoded by Pillow within limits that are checked before a pixel is made."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy

from ...core.errors import Misconfigured
from .encoded import content, refused

if TYPE_CHECKING:
    from PIL import Image

Mode = Literal["L", "RGB"]
Array = numpy.ndarray[Any, numpy.dtype[Any]]


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is opened at all: formats as Pillow names them, encoded bytes, and pixels, which a small file can have
    many of."""

    formats: tuple[str, ...] = ("PNG", "JPEG", "WEBP", "BMP")
    most_bytes: int = 10 << 20
    most_pixels: int = 16_000_000


def prepare() -> None:
    """Load the library and its usual formats now, so that no caller waits for it. Raises Misconfigured."""
    try:
        from PIL import Image
    except ImportError as error:
        raise Misconfigured("images need the extra `media`", next_step="pip install 'stanchion[media]'") from error
    Image.preinit()


def size_of(text: str, path: str, limits: ImageLimits) -> tuple[int, int]:
    """Width and height, read from the head of the file. Raises InvalidInput for what will not be opened."""
    with _opened(content(text, path, most_bytes=limits.most_bytes), path, limits) as image:
        return image.size


def decoded(text: str, path: str, limits: ImageLimits, *, mode: Mode) -> Array:
    """The pixels, uint8, `[height, width]` for L and `[height, width, 3]` for RGB, the right way up.

    Of several frames the first; transparency is left out. Raises InvalidInput.
    """
    from PIL import ImageOps

    with _opened(content(text, path, most_bytes=limits.most_bytes), path, limits) as image:
        try:
            upright = ImageOps.exif_transpose(image)
            return numpy.asarray(upright.convert(mode))
        # What Pillow's decoders raise over a broken body; a bomb was refused by its head already.
        except (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError) as error:
            raise refused(path, "The image cannot be decoded") from error


def _opened(data: bytes, path: str, limits: ImageLimits) -> Image.Image:
    prepare()
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow's own limit only warns at first; ours is checked below, before any pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=limits.formats)
    except Image.DecompressionBombError as error:
        raise refused(path, f"Expected at most {limits.most_pixels} pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise refused(path, f"Expected an image in one of the formats {', '.join(limits.formats)}") from error
    width, height = image.size
    if width * height > limits.most_pixels:
        image.close()
        raise refused(path, f"Expected at most {limits.most_pixels} pixels, not {width} x {height}")
    return image


def pixels(given: object, path: str, limits: ImageLimits, *, mode: Mode) -> Array:
    """Nested lists of whole numbers from 0 to 255 as pixels: rows of numbers for L, of triples for RGB."""
    depth = 2 if mode == "L" else 3
    array = nested(given, path, most=limits.most_pixels * (3 if mode == "RGB" else 1))
    if array.ndim != depth or (depth == 3 and array.shape[2] != 3) or not array.size:
        raise refused(path, "Expected rows of pixels" if depth == 2 else "Expected rows of pixels of 3 numbers")
    if array.dtype.kind != "i" or array.min() < 0 or array.max() > 255:
        raise refused(path, "Expected whole numbers from 0 to 255")
    return array.astype(numpy.uint8)


def nested(given: object, path: str, *, most: int) -> Array:
    """Nested lists of numbers as an array, int64 or float64. Raises InvalidInput for a ragged or mixed one."""
    if _count(given, most) > most:
        raise refused(path, f"Expected at most {most} numbers")
    try:
        array = numpy.array(given)
    except ValueError as error:
        raise refused(path, "Expected nested lists of one length at each level") from error
    if array.dtype.kind not in "if":
        raise refused(path, "Expected numbers only")
    if array.dtype.kind == "f" and not numpy.isfinite(array).all():
        raise refused(path, "Expected finite numbers")
    return array


def _count(given: object, most: int) -> int:
    """How many numbers nested lists hold, counted no further than `most`."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        return 1
    total = 0
    for each in given:
        total += _count(each, most - total)
        if total > most:
            break
    return total


def fitted(array: Array, *, width: int, height: int, exact: bool, path: str) -> Array:
    """The picture at that size: refused if `exact` and of another, else stretched (bilinear)."""
    if array.shape[:2] == (height, width):
        return array
    if exact:
        raise refused(path, f"Expected {width} x {height} pixels, not {array.shape[1]} x {array.shape[0]}")
    from PIL import Image

    return numpy.asarray(Image.fromarray(array).resize((width, height), Image.Resampling.BILINEAR))
