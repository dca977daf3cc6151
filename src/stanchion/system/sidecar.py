"""The handle of a declared sidecar: an existing service asks it in code, as another process asks it over HTTP."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from ..core.context import Context, new_request_id
from ..core.errors import Misconfigured
from ..core.flags import Flag
from ..core.values import Json
from ..serving import Advice, GuardBand, Serving, Settled, SidecarReport, SidecarSpec
from .handles import Bound, Model

Base = Json | Callable[[], Json | Awaitable[Json]]


class Sidecar(Bound):
    """A declared sidecar. It always answers: with the model's value, or with the caller's own and why."""

    def __init__(self, spec: SidecarSpec, flag: Flag | None) -> None:
        super().__init__(spec.name)
        self.spec = spec
        self._flag = flag

    def specs(self) -> Sequence[object]:
        return [self.spec, *([self._flag] if self._flag is not None else [])]

    async def advise(
        self,
        ctx: Context,
        features: BaseModel | Mapping[str, Json],
        base: Base,
        *,
        unit: str = "",
        attributes: Mapping[str, Json] | None = None,
    ) -> Advice:
        """The value to use. `base` is a value or a function, which is called first; what it raises is raised.

        Each advice has a request id of its own, which `settle` takes.
        """
        own = base() if callable(base) else base
        value: Json = await own if inspect.isawaitable(own) else own
        door: Serving = self._door(Serving)
        given = features.model_dump(mode="json") if isinstance(features, BaseModel) else features
        asking = replace(ctx, request_id=new_request_id())
        return await door.advise(asking, self.name, given, value, unit=unit, attributes=attributes)

    async def settle(self, ctx: Context, request_id: str, outcome: float) -> bool:
        """Tell what came of an advice; whether it was known."""
        door: Serving = self._door(Serving)
        return await door.settle(ctx, self.name, [Settled(request_id, outcome)]) == 1

    async def report(self, ctx: Context, *, days: float = 7.0) -> SidecarReport:
        """What became of the sidecar's calls."""
        door: Serving = self._door(Serving)
        return await door.sidecar(ctx, self.name, days=days)


def declared(
    name: str,
    model: Model[Any, Any],
    *,
    value: str,
    confidence: str,
    flag: Flag | str,
    guard: GuardBand,
    limit: float,
) -> Sidecar:
    """The handle. Raises Misconfigured where the model's outcome lacks a field, or the flag is no switch."""
    fields = model.output.model_fields
    lacking = [field for field in (value, confidence) if field and field not in fields]
    if lacking:
        raise Misconfigured(f"the outcome of {model.name} has no field {', '.join(lacking)}, which {name} reads")
    if guard.min_confidence is not None and not confidence:
        raise Misconfigured(f"{name} asks for a confidence and does not say which field it is in")
    if isinstance(flag, Flag) and not all(isinstance(each, bool) for each in flag.variants.values()):
        raise Misconfigured(f"the flag {flag.key} of {name} must have the values true and false only")
    key = flag.key if isinstance(flag, Flag) else flag
    spec = SidecarSpec(
        name=name, model=model.name, flag=key, value=value, confidence=confidence, guard=guard, limit=limit
    )
    return Sidecar(spec, flag if isinstance(flag, Flag) else None)
