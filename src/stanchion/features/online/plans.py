"""How a service's vectors are read: which keys, in one multi-get, and how the answers become features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...core.errors import FieldProblem, InvalidInput
from ...core.values import Json
from ..contract import Service, ServiceSpec, Vector
from ..fingerprint import of_service
from ..rows import KEY_BYTES, Shape, key_faults
from ..transforms import Transform
from .reading import Reader

MOST = 1_000
_FAULTS = 100


class Plan:
    """A declared service, resolved once: per request there is no look-up by name left."""

    def __init__(self, spec: ServiceSpec, shapes: Mapping[str, Shape], on_demand: Mapping[str, Transform]) -> None:
        self.name = spec.name
        self.shapes = tuple(shapes[name] for name in spec.views)
        self.transforms = tuple(on_demand[name] for name in spec.on_demand)
        self.entities = tuple(dict.fromkeys(shape.entity for shape in self.shapes))
        self._known = frozenset(self.entities)
        request = tuple(dict.fromkeys(field for each in self.transforms for field in each.request_fields))
        self._request = frozenset(request)
        self._needs_request = any(each.required for each in self.transforms)
        fields = {name: shape.view.fields[name] for shape in self.shapes for name in shape.features}
        fields |= {name: kind for each in self.transforms for name, kind in each.fields.items()}
        origins = {name: shape.name for shape in self.shapes for name in shape.features}
        origins |= {name: each.name for each in self.transforms for name in each.fields}
        reads = {each.name: each.views for each in self.transforms}
        self._readers = tuple(Reader(shape) for shape in self.shapes)
        fingerprint = of_service(spec, [shape.spec for shape in self.shapes], [each.spec for each in self.transforms])
        self.service = Service(
            spec.name,
            fingerprint,
            tuple(spec.views),
            tuple(spec.on_demand),
            self.entities,
            request,
            fields,
            origins,
            reads,
        )

    def check(self, entities: Sequence[Mapping[str, str]], request: Sequence[Mapping[str, Json]]) -> None:
        """Raise InvalidInput with the path of every entity that is missing, unknown or unusable as a key."""
        if not 1 <= len(entities) <= MOST:
            raise invalid([FieldProblem("$.entities", f"must be 1 to {MOST} entities")])
        if len(request) not in (0, len(entities)) or (self._needs_request and not request):
            raise invalid([FieldProblem("$.request", "must hold the request-time fields of each entity, in order")])
        faults: list[FieldProblem] = []
        for index, entity in enumerate(entities):
            for name in self.entities:
                key = entity.get(name)
                # ASCII is as many bytes as characters; the others need a further look.
                if not (isinstance(key, str) and 0 < len(key) <= KEY_BYTES and key.isascii()):
                    faults += _entity_faults(key, f"$.entities[{index}].{name}")
            if len(entity) != len(self._known):
                strange = [name for name in entity if name not in self._known]
                faults += [FieldProblem(f"$.entities[{index}].{name}", "is no entity of it") for name in strange]
        for index, fields in enumerate(request):
            strange = [name for name in fields if name not in self._request]
            faults += [FieldProblem(f"$.request[{index}].{name}", "is no field of the request") for name in strange]
        if faults:
            raise invalid(faults)

    def keys(self, tenant: str, entities: Sequence[Mapping[str, str]]) -> list[str]:
        """Where the values lie: all entities of the first view, then of the second, and so on."""
        found: list[str] = []
        for shape in self.shapes:
            prefix, entity = shape.prefix(tenant), shape.entity
            found += [prefix + each[entity] for each in entities]
        return found

    def vectors(
        self, count: int, found: Sequence[bytes | None], request: Sequence[Mapping[str, Json]], now: int
    ) -> list[Vector]:
        """One vector for each entity, from what the store gave for `keys`, as of `now` in microseconds.

        Raises InvalidInput for request-time fields of the wrong type, Unavailable if a transform fails.
        """
        name = self.shapes[0].name
        first = self._readers[0].read(found[:count], now)
        if len(self._readers) == 1 and not self.transforms:
            return [Vector(values, {name: status}, {name: at}) for status, values, at in first]
        asked = self._asked(count, request)
        values = [mine for _, mine, _ in first]
        states = [{name: status} for status, _, _ in first]
        times = [{name: at} for _, _, at in first]
        for number, (shape, reader) in enumerate(zip(self.shapes[1:], self._readers[1:], strict=True), 1):
            mine_of = reader.read(found[number * count : (number + 1) * count], now)
            for index, (status, mine, at) in enumerate(mine_of):
                values[index].update(mine)
                states[index][shape.name] = status
                times[index][shape.name] = at
        for transform, inputs in zip(self.transforms, asked, strict=True):
            for index in range(count):
                present = all(states[index][view] == "present" for view in transform.views)
                made = transform.compute(values[index], inputs[index]) if present else transform.none()
                values[index].update(made)
        return list(map(Vector, values, states, times))

    def _asked(self, count: int, request: Sequence[Mapping[str, Json]]) -> list[list[dict[str, Any]]]:
        """By transform, the request's fields of each entity as its function gets them."""
        faults: dict[FieldProblem, None] = {}
        asked = []
        for transform in self.transforms:
            inputs: list[dict[str, Any]] = []
            for index in range(count):
                fields, wrong = transform.request(request[index] if request else {}, f"$.request[{index}]")
                inputs.append(fields)
                faults |= dict.fromkeys(wrong)
            asked.append(inputs)
        if faults:
            raise invalid(list(faults))
        return asked


def invalid(faults: Sequence[FieldProblem]) -> InvalidInput:
    """The error of these faults, of which at most a hundred are told."""
    more = f" and {len(faults) - _FAULTS} more" if len(faults) > _FAULTS else ""
    return InvalidInput(f"{faults[0].path} {faults[0].message}{more}; nothing was done", fields=faults[:_FAULTS])


def _entity_faults(key: object, path: str) -> list[FieldProblem]:
    if key is None:
        return [FieldProblem(path, "is missing")]
    return key_faults(key, path) if isinstance(key, str) else [FieldProblem(path, "must be text")]
