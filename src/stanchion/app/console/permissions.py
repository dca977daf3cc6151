"""What the caller may do, asked beforehand, so that a page offers no button that would be refused.

Asking the doors themselves would write a `denied` event into the audit log for every look at a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.context import Context
from ...core.contract import Action, methods
from ...core.security.contract import Audit, Keys, Policies
from ...core.telemetry.contract import Observatory
from ...events import Events
from ...features import Features
from ...gateway import Gateway
from ...pipelines import Pipelines
from ...registry import Registry
from ...review import Reviews
from ...serving import Serving
from ...training import Training
from .ports import Permits

_CONTRACTS: tuple[type[Any], ...] = (
    Registry,
    Serving,
    Training,
    Features,
    Gateway,
    Reviews,
    Pipelines,
    Events,
    Observatory,
    Keys,
    Policies,
    Audit,
)


class Permissions:
    """Answers `may(ctx, "registry:promote", "churn")` from the gate's own decisions."""

    def __init__(self, permits: Permits | None) -> None:
        self._permits = permits
        self._actions: Mapping[str, Action] = {m.action.name: m.action for c in _CONTRACTS for m in methods(c)}

    def may(self, ctx: Context, action: str, resource: str = "*") -> bool:
        """Whether the call would pass the gate; True where nobody can tell beforehand."""
        return self._permits is None or self._permits(ctx, self._actions[action], resource)

    def names(self) -> tuple[str, ...]:
        """Every action the console knows, ascending."""
        return tuple(sorted(self._actions))
