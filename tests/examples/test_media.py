"""The image and audio examples: trained, registered and served, from files, from lists and from tensors."""

from __future__ import annotations

import base64
import io
import sys
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest

from stanchion.app.commands.register import draft_of
from stanchion.core.declaration import load_declarations
from stanchion.core.errors import InvalidInput
from stanchion.registry import Registry
from stanchion.serving import InferRequest, Serving, Tensor
from stanchion.testing.offline import Offline, offline

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytest.importorskip("PIL.Image", reason="the extra `media` is not installed")
pytest.importorskip("skl2onnx", reason="the extra `train` is not installed")


@contextmanager
def example(name: str) -> Iterator[tuple[Any, ModuleType]]:
    """An example's system and its training, which is imported as a person would run it: from its own folder."""
    system = load_declarations(EXAMPLES / name / "system.py")
    sys.path.insert(0, str(EXAMPLES / name))
    for module in ("system", "train"):
        sys.modules.pop(module, None)
    try:
        import train  # type: ignore[import-not-found, unused-ignore] # lies in the example's folder

        yield system, train
    finally:
        sys.path.remove(str(EXAMPLES / name))
        for module in ("system", "train"):
            sys.modules.pop(module, None)


@asynccontextmanager
async def served(system: Any, folder: Path) -> AsyncIterator[Offline]:
    draft, files = draft_of(folder)
    async with offline(system) as running:
        version = await running.door(Registry).register(running.ctx, draft, files)
        evidence = f"accuracy {draft.metrics['accuracy']:.3f}"
        await running.door(Registry).promote(
            running.ctx, draft.model, version.version, to="production", evidence=evidence
        )
        # By version, which is looked up at once: the declared name follows within the registry's poll.
        await running.door(Serving).load(running.ctx, f"{draft.model}@{version.version}")
        yield running


def png(pixels: numpy.ndarray[Any, Any]) -> str:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def wav(samples: numpy.ndarray[Any, Any], rate: int) -> str:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return base64.b64encode(out.getvalue()).decode()


async def test_digits_are_read_from_pictures_pixels_and_tensors_alike(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    with example("image_classification") as (system, train):
        metrics = train.written(tmp_path)
    assert metrics["accuracy"] > 0.95
    data = load_digits()
    pictures = (data.images[:50] * 255 / 16).astype(numpy.uint8)
    async with served(system, tmp_path) as running:
        door, name = running.door(Serving), "digits@1.0.0"
        from_png = await door.predict(running.ctx, name, [{"picture": png(each)} for each in pictures])
        from_list = await door.predict(running.ctx, name, [{"picture": each.tolist()} for each in pictures])
        flat = (pictures.reshape(50, 64) * numpy.float32(1 / 255)).astype(numpy.float32)
        tensor = Tensor("pixels", "FP32", (50, 64), raw=flat.tobytes())
        tensors = await door.infer(running.ctx, name, InferRequest((tensor,), ("probabilities",), binary=True))
        metadata = await door.metadata(running.ctx, name)
        with pytest.raises(InvalidInput) as caught:
            await door.predict(running.ctx, name, [{"picture": base64.b64encode(b"no picture").decode()}])
    read = [each.values["digit"] for each in from_png.items]
    assert read == [each.values["digit"] for each in from_list.items]
    scores = numpy.frombuffer(tensors.outputs[0].raw, numpy.float32).reshape(50, 10)
    assert read == [str(place) for place in scores.argmax(axis=1)]
    assert sum(a == str(b) for a, b in zip(read, data.target[:50].tolist(), strict=True)) >= 47
    assert [(each.name, each.shape) for each in metadata.inputs] == [("pixels", (-1, 64))]
    assert [each.path for each in caught.value.fields] == ["$.features.picture"]


async def test_sounds_are_told_apart_from_files_and_samples_alike(tmp_path: Path) -> None:
    with example("audio_classification") as (system, train):
        metrics = train.written(tmp_path)
        draw = numpy.random.default_rng(99)
        heard = [(kind, train.sound(kind, draw)) for kind in train.KINDS for _ in range(5)]
        rate = train.RATE
    assert metrics["accuracy"] > 0.95
    async with served(system, tmp_path) as running:
        door, name = running.door(Serving), "sounds@1.0.0"
        files = await door.predict(running.ctx, name, [{"sound": wav(samples, rate)} for _, samples in heard])
        lists = await door.predict(running.ctx, name, [{"sound": samples.tolist()} for _, samples in heard])
        short = await door.predict(running.ctx, name, [{"sound": wav(numpy.zeros(100), rate)}])
        with pytest.raises(InvalidInput, match="samples a second"):
            await door.predict(running.ctx, name, [{"sound": wav(numpy.zeros(100), 16_000)}])
    told = [each.values["kind"] for each in files.items]
    assert told == [each.values["kind"] for each in lists.items]
    assert sum(a == kind for a, (kind, _) in zip(told, heard, strict=True)) >= 18
    assert short.served_by == "primary"
