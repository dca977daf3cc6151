"""The declaration of a system, and the only place that wires its modules."""

from .declare import System
from .features import FeatureService, FeatureView, OnDemand, Source
from .handles import Doors, Model, TrainedModel
from .rollouts import blue_green, canary, shadow
from .serving_options import Reads, ServingOptions
from .sidecar import Sidecar

__all__ = [
    "Doors",
    "FeatureService",
    "FeatureView",
    "Model",
    "OnDemand",
    "Reads",
    "ServingOptions",
    "Sidecar",
    "Source",
    "System",
    "TrainedModel",
    "blue_green",
    "canary",
    "shadow",
]
