"""What `system.py` declares of features, checked as a whole and found by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from ...core.errors import Misconfigured, NotFound
from ..contract import OnDemandSpec, ServiceSpec, SourceSpec, ViewSpec, check_on_demand, check_service, check_source
from ..rows import Shape
from ..transforms import Transform, transforms
from .plans import Plan


class _Named(Protocol):
    @property
    def name(self) -> str: ...


S = TypeVar("S", bound=_Named)


class Catalogue:
    """The declared features. Raises Misconfigured for what cannot be served, or a name that two things have."""

    def __init__(self, declared: Sequence[object]) -> None:
        views = _named([spec for spec in declared if isinstance(spec, ViewSpec)], "feature views")
        on_demand = _named([spec for spec in declared if isinstance(spec, OnDemandSpec)], "transforms")
        services = _named([spec for spec in declared if isinstance(spec, ServiceSpec)], "feature services")
        used = [view.source for view in views.values() if view.source is not None]
        sources = [*(spec for spec in declared if isinstance(spec, SourceSpec)), *used]
        self.sources = _named(list(dict.fromkeys(sources)), "sources")
        for source in self.sources.values():
            check_source(source)
        self.shapes = {name: Shape(spec) for name, spec in views.items()}
        for transform in on_demand.values():
            check_on_demand(transform, views)
        self.transforms: dict[str, Transform] = transforms(list(on_demand.values()), views)
        for service in services.values():
            check_service(service, views, on_demand)
        self.plans = {name: Plan(spec, self.shapes, self.transforms) for name, spec in services.items()}

    def shape(self, view: str) -> Shape:
        """The view of that name. Raises NotFound."""
        if view not in self.shapes:
            raise NotFound(f"no feature view is declared as {view!r}")
        return self.shapes[view]

    def plan(self, service: str) -> Plan:
        """The service of that name. Raises NotFound."""
        if service not in self.plans:
            raise NotFound(f"no feature service is declared as {service!r}")
        return self.plans[service]

    def over(self, source: str) -> list[Shape]:
        """The views over a source, by name."""
        return [shape for shape in self.shapes.values() if shape.view.source == source]


def _named(specs: Sequence[S], kind: str) -> dict[str, S]:
    found = {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)}
    if len(found) != len(specs):
        raise Misconfigured(f"two {kind} have the same name", next_step="Rename one.")
    return found
