"""What a draft must be before anything of it is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..core.errors import FieldProblem, InvalidInput
from ..core.values import Json
from .contract import Draft
from .names import check_digest, check_model

CARD_CHARACTERS = 1 << 20
_FORMATS = ("onnx", "python")


def check_draft(draft: Draft) -> None:
    """Raises InvalidInput at the first fault; what JSON cannot express is found when the manifest is made."""
    check_model(draft.model)
    if draft.format not in _FORMATS:
        raise _fault("$.format", f"must be one of {', '.join(_FORMATS)}")
    check_digest(draft.weights_sha256, "$.weights_sha256")
    check_digest(draft.lineage.data_sha256, "$.lineage.data_sha256")
    if draft.lineage.data_rows < 0:
        raise _fault("$.lineage.data_rows", "must not be negative")
    if len(draft.card) > CARD_CHARACTERS:
        raise _fault("$.card", f"must be at most {CARD_CHARACTERS} characters")
    for name, value in draft.metrics.items():
        if not math.isfinite(value):
            raise _fault(f"$.metrics.{name}", "must be a finite number")
    _check_schema(draft.input_schema, "$.input_schema")
    _check_schema(draft.output_schema, "$.output_schema")


def _check_schema(schema: Mapping[str, Json], path: str) -> None:
    if schema.get("type") != "object":
        raise _fault(path, "must be a JSON Schema of an object: its `type` is `object`")


def _fault(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path.removeprefix('$.')} {message}", fields=[FieldProblem(path, message)])
