"""How a probability becomes the fields of the output type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import InvalidInput
from ..contract import TrainingSpec

PROBABILITY = "probability"


def fields_of(spec: TrainingSpec, schema: Mapping[str, Any]) -> dict[str, str | None]:
    """Which output field takes the probability and which, if there are bands, the label.

    Raises InvalidInput where the output type has other required fields, or its label cannot take a band's name.
    """
    properties: Mapping[str, Any] = schema.get("properties", {})
    if PROBABILITY not in properties:
        raise InvalidInput(f"the output type of {spec.model} has no field `{PROBABILITY}`")
    rest = [name for name in properties if name != PROBABILITY]
    if not spec.bands:
        if rest:
            raise InvalidInput(f"the output type of {spec.model} has `{rest[0]}`, but no bands are declared to fill it")
        return {"probability": PROBABILITY, "label": None}
    if len(rest) != 1:
        raise InvalidInput(f"with bands, the output type of {spec.model} needs one field besides `{PROBABILITY}`")
    allowed = properties[rest[0]].get("enum")
    strange = sorted(set(spec.bands) - set(allowed)) if allowed else []
    if strange:
        raise InvalidInput(f"the field `{rest[0]}` of {spec.model} cannot hold the bands {', '.join(strange)}")
    return {"probability": PROBABILITY, "label": rest[0]}
