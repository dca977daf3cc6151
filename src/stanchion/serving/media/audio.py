"""Audio as arrays of samples: WAV by the standard library, within limits read from its head."""

from __future__ import annotations

import io
import struct
import wave
from dataclasses import dataclass
from typing import Any

import numpy

from .encoded import content, refused
from .images import nested

Array = numpy.ndarray[Any, numpy.dtype[Any]]


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What is opened at all: encoded bytes, seconds and channels."""

    most_bytes: int = 10 << 20
    most_seconds: float = 60.0
    most_channels: int = 2


def decoded(text: str, path: str, limits: AudioLimits, *, rate: int) -> Array:
    """The samples of a WAV file (PCM of 8, 16, 24 or 32 bits), float32 from -1 to 1, channels averaged.

    Another rate than `rate` samples a second is refused: a resampling that suits the model is the caller's to choose.
    Raises InvalidInput.
    """
    data = content(text, path, most_bytes=limits.most_bytes)
    try:
        with wave.open(io.BytesIO(data)) as file:
            _check(file, path, limits, rate)
            width, channels = file.getsampwidth(), file.getnchannels()
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError, ValueError, OverflowError, struct.error) as error:
        raise refused(path, "Expected a WAV file with PCM samples") from error
    whole = len(raw) // (width * channels) * width * channels
    samples = _samples(raw[:whole], width).reshape(-1, channels)
    mixed: Array = samples.mean(axis=1, dtype=numpy.float32)
    return mixed


def _check(file: wave.Wave_read, path: str, limits: AudioLimits, rate: int) -> None:
    if file.getframerate() != rate:
        raise refused(path, f"Expected {rate} samples a second, not {file.getframerate()}")
    if file.getnchannels() > limits.most_channels:
        raise refused(path, f"Expected at most {limits.most_channels} channels")
    if file.getsampwidth() not in (1, 2, 3, 4):
        raise refused(path, "Expected samples of 8, 16, 24 or 32 bits")
    if not 0 < file.getnframes() <= limits.most_seconds * rate:
        raise refused(path, f"Expected sound of at most {limits.most_seconds:g} seconds")


def _samples(raw: bytes, width: int) -> Array:
    if width == 1:
        return (numpy.frombuffer(raw, numpy.uint8).astype(numpy.float32) - 128) / 128
    if width == 3:
        # Three bytes become the upper three of four, so that the sign is in its place.
        padded = numpy.zeros((len(raw) // 3, 4), numpy.uint8)
        padded[:, 1:] = numpy.frombuffer(raw, numpy.uint8).reshape(-1, 3)
        return padded.view("<i4").ravel().astype(numpy.float32) / 2**31
    return numpy.frombuffer(raw, f"<i{width}").astype(numpy.float32) / float(2 ** (8 * width - 1))


def samples(given: object, path: str, limits: AudioLimits, *, rate: int) -> Array:
    """A flat list of numbers from -1 to 1 as samples."""
    array = nested(given, path, most=int(limits.most_seconds * rate))
    if array.ndim != 1 or not array.size:
        raise refused(path, "Expected a flat list of samples")
    if abs(array).max() > 1:
        raise refused(path, "Expected samples from -1 to 1")
    return array.astype(numpy.float32)


def fitted(array: Array, *, length: int) -> Array:
    """The first `length` samples, silence behind a shorter sound."""
    return array[:length] if len(array) >= length else numpy.pad(array, (0, length - len(array)))
