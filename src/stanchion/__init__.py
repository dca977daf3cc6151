"""The frame around AI models: everything a production AI system needs besides the model.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .app.client import AsyncClient, Client
    from .core.context import Budget, Context, Rights, Trace
    from .core.errors import StanchionError
    from .serving import Batch, Cache, Keep, Predictions, Review, Serving
    from .system import FeatureView, Model, Reads, System, TrainedModel
    from .training import Dataset

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "app.client",
    "Batch": "serving",
    "Budget": "core.context",
    "Cache": "serving",
    "Client": "app.client",
    "Context": "core.context",
    "Dataset": "training",
    "FeatureView": "system",
    "Keep": "serving",
    "Model": "system",
    "Predictions": "serving",
    "Reads": "system",
    "Review": "serving",
    "Rights": "core.context",
    "Serving": "serving",
    "StanchionError": "core.errors",
    "System": "system",
    "Trace": "core.context",
    "TrainedModel": "system",
}

__all__ = [
    "AsyncClient",
    "Batch",
    "Budget",
    "Cache",
    "Client",
    "Context",
    "Dataset",
    "FeatureView",
    "Keep",
    "Model",
    "Predictions",
    "Reads",
    "Review",
    "Rights",
    "Serving",
    "StanchionError",
    "System",
    "Trace",
    "TrainedModel",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'stanchion' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return __all__
