"""The measures of a BERT encoder, read from its configuration and checked against its weights."""

from __future__ import annotations

import msgspec

from ...core.errors import InvalidInput
from .safetensors import Weights


class Shape(msgspec.Struct, frozen=True):
    """What the graph is built by, under the names of the configuration's own fields."""

    hidden_size: int
    num_attention_heads: int
    num_hidden_layers: int
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    model_type: str = "bert"
    position_embedding_type: str = "absolute"

    @property
    def head_size(self) -> int:
        """Numbers of one attention head."""
        return self.hidden_size // self.num_attention_heads


def shape_of(config: bytes, weights: Weights) -> Shape:
    """The measures. Raises InvalidInput for a model of another kind or with weights missing."""
    try:
        shape = msgspec.json.decode(config, type=Shape)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"the configuration of the model cannot be read: {error}") from error
    known = (shape.model_type, shape.hidden_act, shape.position_embedding_type)
    if known != ("bert", "gelu", "absolute"):
        raise InvalidInput(f"the model is not of a kind that can be built: {', '.join(known)}")
    if min(shape.hidden_size, shape.num_attention_heads) < 1 or shape.hidden_size % shape.num_attention_heads:
        raise InvalidInput("the heads of the model do not divide its width")
    lacking = [name for name in names(shape) if name not in weights]
    if lacking:
        raise InvalidInput(f"the model lacks the weights {', '.join(lacking[:3])}")
    return shape


def names(shape: Shape) -> list[str]:
    """The weights that the model is made of; a pooler it may have besides is not used."""
    found = [f"embeddings.{part}_embeddings.weight" for part in ("word", "position", "token_type")]
    norms = ["embeddings.LayerNorm"]
    parts = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    for layer in range(shape.num_hidden_layers):
        here = f"encoder.layer.{layer}"
        norms += [f"{here}.attention.output.LayerNorm", f"{here}.output.LayerNorm"]
        norms += [f"{here}.{part}" for part in (*parts, "intermediate.dense", "output.dense")]
    return found + [f"{name}.{kind}" for name in norms for kind in ("weight", "bias")]
