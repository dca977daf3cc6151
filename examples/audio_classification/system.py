"""What kind of sound it is: an ONNX graph that makes its own spectrum, served from WAV files and from samples."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from stanchion import System
from stanchion.serving import Audio, Layout, Sound, TensorInput, TensorOutput

app = System("sounds")
RATE, SAMPLES = 8_000, 4_096
KINDS = ("tone", "square", "chirp", "noise")


class Clip(BaseModel):
    """One sound: a WAV file in base64, 8,000 samples a second, or its samples from -1 to 1."""

    sound: Annotated[str | list[Any], Audio(rate=RATE, most_bytes=1 << 20, most_seconds=5.0)]


class Kind(BaseModel):
    """What is heard in the first half second."""

    kind: str
    probability: float = Field(ge=0, le=1)


LAYOUT = Layout(
    inputs=(TensorInput("samples", ("sound",), kind="audio", sound=Sound(rate=RATE, samples=SAMPLES)),),
    outputs=(
        TensorOutput("probabilities", "kind", "label", KINDS),
        TensorOutput("probabilities", "probability", "probability", KINDS),
    ),
)

sounds = app.registered("sounds", input=Clip, output=Kind)
