"""A Feast registry, read by its public field numbers. Nothing in it is run: transforms in it are pickles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from ...core.errors import MalformedRequest
from .messages import message

# Feast's numbers of value types, as Python types; lists are ten further.
_TYPES: Mapping[int, str] = {
    2: "str",
    3: "int",
    4: "int",
    5: "float",
    6: "float",
    7: "bool",
    8: "datetime",
    12: "list[str]",
    13: "list[int]",
    14: "list[int]",
    15: "list[float]",
    16: "list[float]",
    17: "list[bool]",
    18: "list[datetime]",
}
_FILE = 1


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature, with its Python type; None where there is no such type here."""

    name: str
    kind: str | None


@dataclass(frozen=True, slots=True)
class Source:
    """Rows in files. `format` is parquet or delta; `columns` maps features to columns that are named otherwise."""

    name: str
    format: str
    place: str
    time: str
    created: str
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FeastView:
    """A feature view. `keys` are the join keys of its entities with their types; no `source` if it is not in files."""

    name: str
    keys: Sequence[Feature]
    features: Sequence[Feature]
    ttl_seconds: float
    source: Source | None
    kept: str


@dataclass(frozen=True, slots=True)
class FeastService:
    """A feature service: by view the features it takes; none named are all."""

    name: str
    views: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class FeastTransform:
    """An on-demand view: its outputs, the views it reads, the fields of the request."""

    name: str
    outputs: Sequence[Feature]
    views: Sequence[str]
    request: Sequence[Feature]


@dataclass(frozen=True, slots=True)
class FeastRegistry:
    """What a registry declares."""

    views: Sequence[FeastView]
    transforms: Sequence[FeastTransform] = ()
    services: Sequence[FeastService] = field(default=())


def read(content: bytes) -> FeastRegistry:
    """The registry in these bytes. Raises MalformedRequest if they are none."""
    registry = message("Registry")()
    try:
        registry.ParseFromString(content)
    except DecodeError as error:
        raise MalformedRequest("the file is no Feast registry", next_step="Name Feast's registry.db.") from error
    given = [*registry.feature_views, *registry.stream_feature_views]
    if not given:
        raise MalformedRequest("the file holds no feature view", next_step="Name Feast's registry.db.")
    entities = {each.spec.name: each.spec for each in registry.entities}
    return FeastRegistry(
        [_view(each.spec, entities) for each in given],
        [_transform(each.spec) for each in registry.on_demand_feature_views],
        [_service(each.spec) for each in registry.feature_services],
    )


def _view(spec: Any, entities: Mapping[str, Any]) -> FeastView:
    found = spec.batch_source if spec.HasField("batch_source") else spec.stream_source
    origin = found.batch_source if found.HasField("batch_source") else found
    return FeastView(
        spec.name,
        [_key(name, spec, entities) for name in spec.entities],
        [_feature(each) for each in spec.features],
        spec.ttl.seconds + spec.ttl.nanos / 1e9,
        _source(origin) if origin.type == _FILE and origin.file_options.uri else None,
        origin.name or f"kind {origin.type}",
    )


def _key(name: str, spec: Any, entities: Mapping[str, Any]) -> Feature:
    entity = entities.get(name)
    column = name if entity is None or not entity.join_key else entity.join_key
    typed = {each.name: each.value_type for each in spec.entity_columns}
    kind = typed.get(column, 0 if entity is None else entity.value_type)
    return Feature(column, _TYPES.get(kind, "str"))


def _source(given: Any) -> Source:
    uri = given.file_options.uri
    options = given.file_options.file_format
    return Source(
        given.name or uri,
        "delta" if options.HasField("delta_format") else "parquet",
        uri.removeprefix("file://"),
        given.timestamp_field,
        given.created_timestamp_column,
        # Feast maps columns to features.
        {feature: column for column, feature in given.field_mapping.items()},
    )


def _transform(spec: Any) -> FeastTransform:
    views: list[str] = []
    request: list[Feature] = []
    for each in spec.sources.values():
        match each.WhichOneof("kind"):
            case "feature_view":
                views.append(each.feature_view.spec.name)
            case "projection":
                views.append(each.projection.feature_view_name)
            case "request_data_source":
                request += [_feature(f) for f in each.request_data_source.request_data_options.schema]
            case _:
                continue
    return FeastTransform(spec.name, [_feature(each) for each in spec.features], sorted(views), request)


def _service(spec: Any) -> FeastService:
    return FeastService(
        spec.name, {each.feature_view_name: [f.name for f in each.feature_columns] for each in spec.features}
    )


def _feature(spec: Any) -> Feature:
    return Feature(spec.name, _TYPES.get(spec.value_type))
