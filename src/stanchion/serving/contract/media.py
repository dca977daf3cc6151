"""Images, audio and text as fields of an input type, with the limits that hold before anything is opened."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import GetJsonSchemaHandler

from ...core.errors import InvalidInput

if TYPE_CHECKING:
    import numpy
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

ImageFormat = Literal["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]
_ROOT = "$.features"


@dataclass(frozen=True, slots=True)
class Image:
    """`picture: Annotated[str, Image()]` is an image in base64; `Annotated[str | list, Image()]` also takes nested
    lists of pixels, 0 to 255.

    An image in another format, of more bytes or of more pixels is refused before it is decoded.
    """

    formats: tuple[ImageFormat, ...] = ("PNG", "JPEG", "WEBP", "BMP")
    most_bytes: int = 10 << 20
    most_pixels: int = 16_000_000

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _marked(handler(core_schema), "image", asdict(self))

    def array(self, given: object, *, mode: Literal["L", "RGB"] = "RGB", path: str = _ROOT) -> numpy.ndarray[Any, Any]:
        """The pixels of a field's value, uint8, for a Python function. Raises InvalidInput under `path`."""
        from ..media.images import ImageLimits, decoded, pixels

        limits = ImageLimits(self.formats, self.most_bytes, self.most_pixels)
        read = decoded(given, path, limits, mode=mode) if isinstance(given, str) else None
        return pixels(given, path, limits, mode=mode) if read is None else read

    def check(self, given: object, path: str = _ROOT) -> None:
        """Raises InvalidInput for what would not be opened: only the head of the file is read."""
        from ..media.images import ImageLimits, nested, size_of

        if isinstance(given, str):
            size_of(given, path, ImageLimits(self.formats, self.most_bytes, self.most_pixels))
        else:
            nested(given, path, most=3 * self.most_pixels)


@dataclass(frozen=True, slots=True)
class Audio:
    """`sound: Annotated[str, Audio(rate=16_000)]` is a WAV file (PCM) in base64; `Annotated[str | list, ...]` also
    takes a flat list of samples, -1 to 1. Another rate, and what is longer, is refused."""

    rate: int
    most_bytes: int = 10 << 20
    most_seconds: float = 60.0
    most_channels: int = 2

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _marked(handler(core_schema), "audio", asdict(self))

    def array(self, given: object, *, path: str = _ROOT) -> numpy.ndarray[Any, Any]:
        """The samples of a field's value, float32 from -1 to 1, channels averaged. Raises InvalidInput."""
        from ..media.audio import AudioLimits, decoded, samples

        limits = AudioLimits(self.most_bytes, self.most_seconds, self.most_channels)
        if isinstance(given, str):
            return decoded(given, path, limits, rate=self.rate)
        return samples(given, path, limits, rate=self.rate)

    def check(self, given: object, path: str = _ROOT) -> None:
        """Raises InvalidInput for what cannot be taken."""
        self.array(given, path=path)


@dataclass(frozen=True, slots=True)
class Text:
    """`review: Annotated[str, Text(most=2_000)]` is free text of so many characters, without control characters
    besides tab and the line breaks."""

    most: int = 10_000
    least: int = 1

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = _marked(handler(core_schema), "text", {})
        return {**schema, "minLength": self.least, "maxLength": self.most}

    def check(self, given: object, path: str = _ROOT) -> None:
        """Raises InvalidInput for a text of another length, or with control characters."""
        from ..media.encoded import refused

        if not isinstance(given, str) or not self.least <= len(given) <= self.most:
            raise refused(path, f"Expected text of {self.least} to {self.most} characters")
        if any(ord(each) < 32 and each not in "\t\n\r" for each in given):
            raise refused(path, "Expected text without control characters")


Medium = Image | Audio | Text
_KINDS: dict[str, type[Image] | type[Audio] | type[Text]] = {"image": Image, "audio": Audio, "text": Text}


def medium_of(schema: object) -> Medium | None:
    """The medium that a property of a JSON Schema is marked with, None for a plain one. Raises InvalidInput."""
    marked = schema.get("media") if isinstance(schema, dict) else None
    if not isinstance(marked, dict):
        return None
    if not isinstance(schema, dict) or marked.get("kind") not in _KINDS:
        raise InvalidInput(f"the input schema has a medium of the kind {str(marked.get('kind'))[:32]!r}")
    given: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in marked.items() if name != "kind"
    }
    if marked["kind"] == "text":
        given = {"most": int(schema.get("maxLength", 10_000)), "least": int(schema.get("minLength", 0))}
    try:
        return _KINDS[str(marked["kind"])](**given)
    except TypeError as error:
        raise InvalidInput("the input schema has a medium with limits that are not known here") from error


def _marked(schema: JsonSchemaValue, kind: str, limits: dict[str, Any]) -> JsonSchemaValue:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in limits.items()}
    return {**schema, "media": {"kind": kind, **plain}}
