"""Declared estimators become registered versions."""

from .contract import (
    Dataset,
    Reliability,
    Role,
    Training,
    TrainingEvent,
    TrainingReport,
    TrainingSpec,
    aside,
    identifier,
)

__all__ = [
    "Dataset",
    "Reliability",
    "Role",
    "Training",
    "TrainingEvent",
    "TrainingReport",
    "TrainingSpec",
    "aside",
    "identifier",
]
