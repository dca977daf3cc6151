"""What clients may ask for: declared models and routes, and the routes that a tenant has put since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core.errors import InvalidInput, Misconfigured, NotFound
from ..contract.gateway import LanguageModel, RouteView
from ..contract.specs import ROUTE_PREFIX, RouteSpec, check_route, dollars
from .conditions import Condition
from .served import Served


@dataclass(frozen=True, slots=True)
class Target:
    """Who may answer one name: a route, or one model without any of a route's limits (`route` is then empty)."""

    route: str
    version: int
    spec: RouteSpec
    rungs: tuple[Served, ...]
    max_cost: int | None
    conditions: Mapping[str, Condition]

    @property
    def subject(self) -> str:
        """What the ledger calls it."""
        return ROUTE_PREFIX + self.route if self.route else self.spec.primary


class Table:
    """Models are declared once for all tenants; a route that a tenant puts is its own."""

    def __init__(self, models: Mapping[str, Served], routes: Sequence[RouteSpec]) -> None:
        self.models = models
        self._declared = {spec.name: self.target(spec, 0) for spec in routes}
        self._put: dict[tuple[str, str], Target] = {}
        self._single = {name: self._alone(served) for name, served in models.items()}

    def find(self, tenant: str, name: str) -> Target:
        """Who answers the name that a client asked for. Raises NotFound."""
        found = self.found(tenant, name)
        if found is None:
            raise NotFound(f"there is no model {name!r}", next_step="GET /v1/models lists the models and routes.")
        return found

    def found(self, tenant: str, name: str) -> Target | None:
        """Who answers it; None where nobody does."""
        if name.startswith(ROUTE_PREFIX):
            route = name.removeprefix(ROUTE_PREFIX)
            return self._put.get((tenant, route)) or self._declared.get(route)
        return self._single.get(name)

    def route(self, tenant: str, name: str) -> Target | None:
        """The route of that name as the tenant has it."""
        return self._put.get((tenant, name)) or self._declared.get(name)

    def declared(self, name: str) -> Target | None:
        """The route of that name as the system's file has it."""
        return self._declared.get(name)

    def replace(self, put: Mapping[tuple[str, str], Target]) -> None:
        """Take in all the routes that were put, by tenant and name."""
        self._put = dict(put)

    def has(self, tenant: str, name: str, version: int) -> Target | None:
        """The put route, if it is the one of that version."""
        found = self._put.get((tenant, name))
        return found if found is not None and found.version == version else None

    def listed(self, tenant: str) -> list[LanguageModel]:
        """Models by name, then routes by name."""
        routes = [self._as_model(target) for target in self._of(tenant)]
        return [*(self.models[name].listed() for name in sorted(self.models)), *routes]

    def views(self, tenant: str) -> list[RouteView]:
        """The tenant's routes by name."""
        return [self.view(target) for target in self._of(tenant)]

    def view(self, target: Target) -> RouteView:
        """One route as it does now."""
        return RouteView(target.spec, target.version, tuple(rung.view() for rung in target.rungs))

    def target(self, spec: RouteSpec, version: int) -> Target:
        """The route, ready to be asked. Raises Misconfigured where it cannot be."""
        check_route(spec, sorted(self.models))
        return Target(
            route=spec.name,
            version=version,
            spec=spec,
            rungs=tuple(self.models[name] for name in spec.models),
            max_cost=None if spec.max_cost is None else dollars("max_cost", spec.max_cost),
            conditions={name: Condition(text) for name, text in spec.conditions.items()},
        )

    def checked(self, spec: RouteSpec, version: int) -> Target:
        """The same for a route that a caller sent. Raises InvalidInput."""
        try:
            return self.target(spec, version)
        except Misconfigured as error:
            raise InvalidInput(error.detail, next_step=error.hint) from error

    def _of(self, tenant: str) -> list[Target]:
        own = {name: target for (owner, name), target in self._put.items() if owner == tenant}
        both = {**self._declared, **own}
        return [both[name] for name in sorted(both)]

    def _alone(self, served: Served) -> Target:
        spec = RouteSpec(name=served.spec.name, primary=served.spec.name)
        return Target("", 0, spec, (served,), None, {})

    def _as_model(self, target: Target) -> LanguageModel:
        shapes = sorted({shape for rung in target.rungs for shape in rung.ways})
        return LanguageModel(name=ROUTE_PREFIX + target.route, shapes=tuple(shapes))
