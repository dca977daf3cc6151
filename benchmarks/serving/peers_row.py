"""The one row that every server of the side-by-side is asked for, and the bodies in which it travels."""

from __future__ import annotations

import json

MODEL = "score"
FEATURES = tuple(f"x{number:02}" for number in range(20))
# Sixteenths are the same number in float32 and float64, and in LightGBM and ONNX.
ROW = tuple((number * 7 % 33 - 16) / 16 for number in range(20))

PREDICTIONS = "/v1/predictions"
INFER = f"/v2/models/{MODEL}/infer"


def named() -> bytes:
    """The row as an object of named numbers, for Stanchion's own route, the bare handler and Ray Serve."""
    return json.dumps({"model_id": MODEL, "features": dict(zip(FEATURES, ROW, strict=True))}).encode()


def tensor() -> bytes:
    """The row as one tensor of the Open Inference Protocol, for Stanchion, the bare handler and MLServer."""
    given = {"name": "features", "shape": [1, len(ROW)], "datatype": "FP32", "data": ROW}
    return json.dumps({"inputs": [given]}).encode()


def matrix() -> bytes:
    """The row as a matrix in the argument `data`, for BentoML."""
    return json.dumps({"data": [ROW]}).encode()


def plain() -> bytes:
    """The row as a list, for LitServe."""
    return json.dumps({"input": ROW}).encode()


def probability(answer: bytes) -> float:
    """The probability in anybody's answer: a number, or what stands deepest and last in lists and objects."""
    told = json.loads(answer)
    if isinstance(told, dict) and "outputs" in told:
        named_so = [each for each in told["outputs"] if each["name"] == "probability"]
        told = (named_so or told["outputs"])[-1]["data"]
    while isinstance(told, dict | list):
        if isinstance(told, dict):
            told = told["probability"] if "probability" in told else told["output"]
        else:
            told = told[-1]
    return float(told)
