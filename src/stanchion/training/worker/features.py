"""Features of a service as columns of a model: what they are, and how they come to the rows.

The join is not made here: a worker has no credentials and no store. It writes its rows, and whoever started it has
the feature store join them, with the rights of the caller who asked for the training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ...core.declaration import Declarations
from ...core.errors import InvalidInput, Misconfigured
from ...features import OnDemandSpec, ServiceSpec, ViewSpec, feature_fields
from ..contract import Dataset, TrainingSpec
from ..ports import Spine
from .columns import Column, columns_of

if TYPE_CHECKING:
    import pandas

SPINE = "spine.arrow"


def feature_columns(declared: Declarations, service: str) -> tuple[Column, ...]:
    """The service's features as columns, numbers nullable: a view may know nothing of an entity, or nothing fresh.

    Raises Misconfigured for an unknown service, and InvalidInput for a feature that no estimator can read.
    """
    spec = next((each for each in declared.of(ServiceSpec) if each.name == service), None)
    if spec is None:
        raise Misconfigured(f"no feature service is declared as {service!r}", next_step="Declare it in the system.")
    parts = [(view.row, feature_fields(view)) for view in declared.of(ViewSpec) if view.name in spec.views]
    transforms = [each.output for each in declared.of(OnDemandSpec) if each.name in spec.on_demand]
    parts += [(output, list(output.model_fields)) for output in transforms]
    return tuple(column for row, fields in parts for column in _columns(row, fields))


def _columns(row: type[BaseModel], fields: Sequence[str]) -> Sequence[Column]:
    schema: Mapping[str, Any] = row.model_json_schema(mode="serialization")
    kept = {name: field for name, field in schema["properties"].items() if name in fields}
    return [_nullable(column) for column in columns_of({**schema, "properties": kept})]


def _nullable(column: Column) -> Column:
    return replace(column, nullable=True) if column.kind == "number" else column


def joined(
    dataset: Dataset, spec: TrainingSpec, schema: Mapping[str, Any], folder: Path, join: Callable[[Spine], str]
) -> Dataset:
    """The dataset with the features behind its columns, in the same order. Raises InvalidInput without its `time`."""
    import pyarrow

    if dataset.time is None:
        raise InvalidInput(
            "the dataset does not say at which moment its rows are judged",
            next_step="Give Dataset(..., time=COLUMN): features are joined as they were known at that moment.",
        )
    fields = {*schema.get("properties", {}), *spec.entities.values(), dataset.time}
    rows = dataset.rows[[name for name in dataset.rows.columns if name in fields]]
    rows = rows.assign(**{key: rows[field].astype(str) for key, field in spec.entities.items() if field in rows})
    table = pyarrow.Table.from_pandas(rows, preserve_index=False)
    with pyarrow.OSFile(str(folder / SPINE), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    name = join(Spine(spec.features or "", SPINE, dataset.time))
    with pyarrow.memory_map(str(folder / name)) as held, pyarrow.ipc.open_stream(held) as stream:
        frame: pandas.DataFrame = stream.read_all().to_pandas()
    return replace(dataset, rows=frame)
