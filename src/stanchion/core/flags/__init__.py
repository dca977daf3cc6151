"""Feature flags, and the percentage split that every rollout uses.

`FlagService` is in `stanchion.core.flags.service`, the OpenFeature provider in `stanchion.app.openfeature`.
"""

from .contract import Condition, Evaluation, Flag, Flags, Prerequisite, Rule
from .rules import FlagSet, flags_from
from .split import bucket, choose

__all__ = [
    "Condition",
    "Evaluation",
    "Flag",
    "FlagSet",
    "Flags",
    "Prerequisite",
    "Rule",
    "bucket",
    "choose",
    "flags_from",
]
