"""Which digit a small picture shows: an ONNX graph registered from outside, served from base64 and from tensors."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from stanchion import System
from stanchion.serving import Image, Layout, Picture, TensorInput, TensorOutput

app = System("digits")
DIGITS = tuple(str(digit) for digit in range(10))


class Scan(BaseModel):
    """One handwritten digit: a picture in base64, or rows of pixels from 0 to 255, white ink on black."""

    picture: Annotated[str | list[Any], Image(most_bytes=1 << 20, most_pixels=1_000_000)]


class Digit(BaseModel):
    """What is read."""

    digit: str
    probability: float = Field(ge=0, le=1)
    scores: dict[str, float]


LAYOUT = Layout(
    inputs=(
        TensorInput("pixels", ("picture",), kind="image", picture=Picture(width=8, height=8, mode="L", order="flat")),
    ),
    outputs=(
        TensorOutput("probabilities", "digit", "label", DIGITS),
        TensorOutput("probabilities", "probability", "probability", DIGITS),
        TensorOutput("probabilities", "scores", "scores", DIGITS),
    ),
)

digits = app.registered("digits", input=Scan, output=Digit)
