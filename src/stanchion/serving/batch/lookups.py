"""Which features a batch job has to look up: those its model reads and its table does not bring along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core.context import system_context
from ...core.errors import Conflict, FieldProblem, InvalidInput, Misconfigured, Unavailable
from ...features import Features, Service
from ...registry import ModelVersion
from ..contract import BatchOrder, Lookup, ServedSpec
from ..package import package_of, pinned_of
from .pieces import Described

_MARK = "|features:"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked up for every row: the features `names`, which come from `views`.

    `time` is the column with each row's moment; empty: what is true now is looked up.
    """

    spec: ServedSpec
    lookup: Lookup
    service: Service
    names: Sequence[str]
    views: Sequence[str]
    time: str

    @property
    def falls(self) -> bool:
        """Whether a row without its features is left to the rule and the default."""
        return "next_rung" in (self.lookup.stale, self.lookup.unknown)

    @property
    def mark(self) -> str:
        """What makes another job of the same table: other definitions of the features, or another moment."""
        return f"{_MARK}{self.service.fingerprint}@{self.time}"


class Lookups:
    """Decides for each job of the declared models of `owner` what is looked up."""

    def __init__(self, specs: Sequence[ServedSpec], features: Features | None, owner: str) -> None:
        self._specs: Mapping[str, ServedSpec] = {spec.name: spec for spec in specs if spec.options.features is not None}
        self._features = features
        self._owner = owner

    @property
    def store(self) -> Features:
        """The feature store. Raises Misconfigured where there is none."""
        if self._features is None:
            raise Misconfigured(
                "the model reads features that the table does not hold, and this system has no feature store",
                next_step="Enable the module `features`, or join the features to the table first.",
            )
        return self._features

    async def wanted(
        self, tenant: str, model: str, version: ModelVersion | None, described: Described, order: BatchOrder
    ) -> Wanted | None:
        """What the job looks up; None if its table has all. Raises InvalidInput, Misconfigured, Unavailable."""
        spec = self._specs.get(model.partition("@")[0]) if tenant == self._owner else None
        lookup = None if spec is None else spec.options.features
        if spec is None or lookup is None:
            _check_time(order, None, described)
            return None
        _check_time(order, lookup, described)
        lacking = [name for name in _read_by(spec, lookup, version) if name not in described.names]
        if not lacking:
            return None
        service = await self._service(tenant, lookup, "" if version is None else pinned_of(version))
        if strange := [name for name in lacking if name not in service.fields]:
            # Neither looked up nor there: the check of columns says so.
            lacking = [name for name in lacking if name not in strange]
        views = [view for name in lacking for view in _views_of(service, name)]
        return Wanted(spec, lookup, service, lacking, list(dict.fromkeys(views)), order.time) if lacking else None

    async def _service(self, tenant: str, lookup: Lookup, pinned: str) -> Service:
        """The service as it is defined now. Raises Unavailable unless the version was made with the same one."""
        found = await self.store.services(system_context(tenant, task="batch"))
        service = next((each for each in found if each.name == lookup.service), None)
        if service is None:
            raise Unavailable(f"no feature service {lookup.service} is running")
        if pinned and pinned != service.fingerprint:
            raise Unavailable(
                f"the version was made with the feature service {service.name} of fingerprint {pinned}, and "
                f"{service.fingerprint} is running",
                next_step="Train the model on the present definitions, or run the ones it was trained on.",
            )
        return service


def check_mark(wanted: Wanted | None, fingerprint: str) -> None:
    """Raise Conflict unless a job of this fingerprint was begun with the same look-up."""
    _, found, mark = fingerprint.partition(_MARK)
    if found + mark != ("" if wanted is None else wanted.mark):
        raise Conflict(
            "the features are not defined as they were when the job was begun",
            next_step="Run the former definitions, or cancel the job and order a new one.",
        )


def _check_time(order: BatchOrder, lookup: Lookup | None, described: Described) -> None:
    if not order.time:
        return
    message = ""
    if lookup is None:
        message = "The model looks no features up, so that no moment of a row is asked for"
    elif order.time not in described.names:
        message = f"There is no column {order.time!r}"
    if message:
        raise InvalidInput(f"time: {message}", fields=[FieldProblem("$.time", message)])


def _read_by(spec: ServedSpec, lookup: Lookup, version: ModelVersion | None) -> Sequence[str]:
    """The looked-up features that the model reads."""
    if version is None:
        return lookup.fields
    own = version.input_schema.get("properties")
    named = own if isinstance(own, Mapping) else {}
    return [column.name for column in package_of(version).columns if column.name not in named]


def _views_of(service: Service, feature: str) -> Sequence[str]:
    origin = service.origins[feature]
    return service.reads[origin] if origin in service.on_demand else [origin]
