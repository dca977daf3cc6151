"""The same encoder in plain numpy, written apart from the graph: what they give must be the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .safetensors import Weights
from .shape import Shape

Vector = NDArray[np.float64]
_erf = np.vectorize(math.erf, otypes=[np.float64])


def vector(weights: Weights, shape: Shape, ids: Sequence[int]) -> Vector:
    """The vector of one sentence, of length one. `ids` are its tokens with those that begin and end it."""
    words = weights["embeddings.word_embeddings.weight"][list(ids)].astype(np.float64)
    places = weights["embeddings.position_embeddings.weight"][: len(ids)]
    kind = weights["embeddings.token_type_embeddings.weight"][0]
    x = _norm(weights, "embeddings.LayerNorm", words + places + kind, shape)
    for number in range(shape.num_hidden_layers):
        name = f"encoder.layer.{number}"
        attended = _dense(weights, f"{name}.attention.output.dense", _attention(weights, name, x, shape))
        x = _norm(weights, f"{name}.attention.output.LayerNorm", attended + x, shape)
        grown = _dense(weights, f"{name}.intermediate.dense", x)
        grown = grown * 0.5 * (1.0 + _erf(grown / math.sqrt(2.0)))
        x = _norm(weights, f"{name}.output.LayerNorm", _dense(weights, f"{name}.output.dense", grown) + x, shape)
    mean: Vector = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def _attention(weights: Weights, name: str, x: Vector, shape: Shape) -> Vector:
    query, key, value = (
        _dense(weights, f"{name}.attention.self.{part}", x).reshape(len(x), shape.num_attention_heads, -1)
        for part in ("query", "key", "value")
    )
    scores = np.einsum("ihd,jhd->hij", query, key) / math.sqrt(shape.head_size)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    mixed: Vector = np.einsum("hij,jhd->ihd", shares, value).reshape(len(x), -1)
    return mixed


def _dense(weights: Weights, name: str, x: Vector) -> Vector:
    moved: Vector = x @ weights[f"{name}.weight"].T.astype(np.float64) + weights[f"{name}.bias"]
    return moved


def _norm(weights: Weights, name: str, x: Vector, shape: Shape) -> Vector:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + shape.layer_norm_eps)
    scaled: Vector = centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return scaled
