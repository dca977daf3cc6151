"""Which version of a model answers a call, and which ones see it without answering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..core.context import Context
from ..core.values import Json
from .contract import Predictions


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who answers: `version`, or what the bare name means where that is None. `arm` is "" outside a rollout.

    `shadows` are versions that are asked too and whose answers nobody gets.
    """

    version: str | None = None
    arm: str = ""
    shadows: tuple[str, ...] = ()


UNSPLIT = Assignment()


class Traffic(Protocol):
    """Splits the calls of a model between its versions."""

    def assign(self, ctx: Context, model: str, unit: str) -> Assignment:
        """Who answers this call of the model. In memory, with no look at any store; asked for bare names only.

        The same unit gets the same answer as long as the split is the same. An empty unit is the caller's
        principal or the request, as the split says.
        """
        ...

    def seen(
        self,
        ctx: Context,
        model: str,
        assignment: Assignment,
        instances: Sequence[Mapping[str, Json]],
        predictions: Predictions | None,
        error: str | None,
        seconds: float,
    ) -> None:
        """Take note of how an assigned call ended: its answer, or the code of its error. Never raises or waits."""
        ...


class NoTraffic(Traffic):
    """No split: every call is answered by what its name means."""

    def assign(self, ctx: Context, model: str, unit: str) -> Assignment:
        return UNSPLIT

    def seen(
        self,
        ctx: Context,
        model: str,
        assignment: Assignment,
        instances: Sequence[Mapping[str, Json]],
        predictions: Predictions | None,
        error: str | None,
        seconds: float,
    ) -> None:
        return
