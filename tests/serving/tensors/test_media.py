"""Images, audio and text out of what callers send: what is taken, what is refused, and that bombs are not opened."""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from typing import Any

import numpy
import pytest

from stanchion.core.errors import InvalidInput
from stanchion.serving import Audio, Image, Text, medium_of

PIL = pytest.importorskip("PIL.Image")


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def picture(width: int = 4, height: int = 3, *, kind: str = "PNG", mode: str = "RGB", exif: Any = None) -> str:
    made = PIL.new(mode, (width, height), 128 if mode == "L" else (255, 0, 0))
    out = io.BytesIO()
    made.save(out, kind, **({} if exif is None else {"exif": exif}))
    return encoded(out.getvalue())


def png_of(width: int, height: int) -> str:
    """A PNG whose head tells a size that its few bytes do not hold."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return encoded(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def sound(samples: list[float], *, rate: int = 8000, width: int = 2, channels: int = 1) -> str:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        most = 2 ** (8 * width - 1) - 1
        for each in samples:
            value = round(each * most) + (128 if width == 1 else 0)
            file.writeframes(value.to_bytes(width, "little", signed=width != 1) * channels)
    return encoded(out.getvalue())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_images_of_the_declared_formats_become_pixels(kind: str) -> None:
    pixels = Image().array(picture(kind=kind))
    assert (pixels.shape, pixels.dtype) == ((3, 4, 3), numpy.uint8)
    assert pixels[0, 0, 0] > 200 > 50 > pixels[0, 0, 1]
    assert Image().array(picture(kind=kind), mode="L").shape == (3, 4)


def test_a_data_url_is_taken_too() -> None:
    assert Image().array("data:image/png;base64," + picture()).shape == (3, 4, 3)


def test_a_picture_is_turned_as_its_camera_says() -> None:
    exif = PIL.Exif()
    exif[0x0112] = 6
    assert Image().array(picture(4, 3, kind="JPEG", exif=exif)).shape == (4, 3, 3)


def test_nested_lists_are_pixels_too() -> None:
    assert Image().array([[0, 255], [1, 2]], mode="L").tolist() == [[0, 255], [1, 2]]
    assert Image().array([[[0, 1, 2]]]).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("no base64!", "base64"),
        (encoded(b"no image"), "formats"),
        ("", "formats"),
        (picture(kind="GIF", mode="L"), "formats"),
        (png_of(60_000, 60_000), "pixels"),
        (png_of(5_000, 5_000), "pixels"),
        (encoded(base64.b64decode(picture())[:45]), "decoded"),
        (png_of(100, 100), "decoded"),
        ("A" * 20_000_000, "bytes"),
        ([[0, 1], [2]], "length"),
        ([[256]], "255"),
        ([[-1]], "255"),
        ([[0.5]], "whole"),
        ([["a"]], "numbers"),
        ([], "rows"),
        ([1, 2], "rows"),
    ],
)
def test_what_is_no_acceptable_image_is_refused(given: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        Image().array(given, mode="L", path="$.features.picture")
    assert [each.path for each in caught.value.fields] == ["$.features.picture"]


def test_the_head_alone_tells_of_a_bomb() -> None:
    with pytest.raises(InvalidInput, match="pixels"):
        Image().check(png_of(60_000, 60_000))
    Image().check(png_of(100, 100))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_every_width_are_read_alike(width: int) -> None:
    samples = [0.0, 0.5, -0.5, 0.25]
    read = Audio(rate=8000).array(sound(samples, width=width))
    assert read.dtype == numpy.float32
    assert read.tolist() == pytest.approx(samples, abs=0.01)


def test_channels_are_averaged_and_lists_are_samples_too() -> None:
    assert Audio(rate=8000).array(sound([0.5, 0.5], channels=2)).tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    assert Audio(rate=8000).array([0.5, -1]).tolist() == [0.5, -1.0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (encoded(b"no sound"), "WAV"),
        (encoded(b"RIFF\x04\x00\x00\x00WAVE"), "WAV"),
        (sound([0.0], rate=16_000), "samples a second"),
        (sound([0.0], channels=3), "channels"),
        (sound([0.0] * 8001), "seconds"),
        (sound([]), "seconds"),
        ([2.0], "-1 to 1"),
        ([], "flat"),
        ([[0.1]], "flat"),
        ([float("nan")], "finite"),
        ([0.0] * 8001, "at most"),
    ],
)
def test_what_is_no_acceptable_sound_is_refused(given: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Audio(rate=8000, most_seconds=1.0).array(given)


@pytest.mark.parametrize("given", ["", "a" * 11, "a\0b", "a\x1bb", 5])
def test_text_beyond_its_limits_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInput):
        Text(most=10).check(given)
    Text(most=10).check("a\tb\nc")


@pytest.mark.parametrize("medium", [Image(most_pixels=5, formats=("PNG",)), Audio(rate=5, most_seconds=2.0)])
def test_a_medium_and_its_limits_travel_in_the_schema(medium: Any) -> None:
    from typing import Annotated

    from pydantic import create_model

    model = create_model("M", field=(Annotated[str | list, medium], ...), text=(Annotated[str, Text(most=7)], "a"))
    schema = model.model_json_schema()["properties"]
    assert medium_of(schema["field"]) == medium
    assert medium_of(schema["text"]) == Text(most=7, least=1)
    assert medium_of({"type": "string"}) is None


@pytest.mark.parametrize("media", [{"kind": "video"}, {"kind": "image", "more": 1}])
def test_a_schema_with_a_medium_that_is_unknown_here_is_refused(media: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        medium_of({"type": "string", "media": media})
