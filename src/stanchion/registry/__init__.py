"""Which model versions exist, and which is in use."""

from .contract import (
    Change,
    Draft,
    File,
    Format,
    Lineage,
    ModelSummary,
    ModelVersion,
    Promotion,
    Registry,
    Stage,
)

__all__ = [
    "Change",
    "Draft",
    "File",
    "Format",
    "Lineage",
    "ModelSummary",
    "ModelVersion",
    "Promotion",
    "Registry",
    "Stage",
]
