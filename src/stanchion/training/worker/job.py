"""One training from the declaration to the checked package."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.declaration import Declarations, load_declarations
from ...core.errors import InvalidInput, NotFound
from ...core.values import Json
from ..contract import Dataset, TrainingSpec
from ..ports import Job, Package, Progress, Spine
from .card import written
from .columns import Column, Table, columns_of, table_of
from .features import feature_columns, joined
from .graph import INPUT, OUTPUT, Graph, checked_parity, exported
from .measure import measured
from .outcome import fields_of
from .picture import drawn
from .reference import reference

if TYPE_CHECKING:
    import numpy
    import pandas

    Vector = numpy.ndarray[Any, Any]

MODEL, SIMPLE, CARD, PICTURE = "model.onnx", "simple.onnx", "card.md", "picture.png"
Tell = Callable[[Progress], None]
Ask = Callable[[Spine], str]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to learn from and rows to measure on."""

    train: pandas.DataFrame
    test: pandas.DataFrame
    train_target: Vector
    test_target: Vector


@dataclass(frozen=True, slots=True)
class Fitted:
    """An estimator, its answers on the held-out rows, and its graph."""

    estimator: Any
    probability: Vector
    graph: Graph
    parity: float


def done(job: Job, tell: Tell, join: Ask) -> Package:
    """Train as declared and write the package's files; `join` has features joined to the rows.

    Raises NotFound, InvalidInput, Misconfigured.
    """
    declared = load_declarations(job.system_file)
    spec = _spec(declared, job)
    input_schema, output_schema = spec.input.model_json_schema(), spec.output.model_json_schema(mode="serialization")
    columns, outputs = columns_of(input_schema), fields_of(spec, output_schema)
    dataset = _dataset(spec, job)
    if spec.features is not None:
        columns += feature_columns(declared, spec.features)
        dataset = joined(dataset, spec, input_schema, Path(job.folder), join)
    table = table_of(dataset, columns)
    tell(Progress("data", f"{len(table.target):,} rows from {table.source}", 0.15))
    split = _split(table, spec, job.seed)
    held_out = f"{len(split.test_target):,} rows held out"
    tell(Progress("split", f"{len(split.train_target):,} rows to learn from, {held_out}", 0.2))
    primary = _fit(spec.estimator, split, columns, job.seed)
    simple = None if spec.simple is None else _fit(spec.simple, split, columns, job.seed)
    tell(Progress("fitted", f"{_name(primary.estimator)} fitted and exported", 0.7))
    measures = measured(
        split.test_target,
        primary.probability,
        train_rows=len(split.train_target),
        parity=max(fitted.parity for fitted in (primary, simple) if fitted is not None),
        simple=None if simple is None else simple.probability,
    )
    tell(Progress("measured", f"ROC AUC {measures.roc_auc:.4f}, Brier {measures.brier:.4f} on {held_out}", 0.75))
    card = written(spec, table, columns, measures, seed=job.seed)
    graphs = {MODEL: primary.graph.content} | ({} if simple is None else {SIMPLE: simple.graph.content})
    picture = drawn(
        spec.model, split.test_target, primary.probability, None if simple is None else simple.probability, measures
    )
    files = {**graphs, CARD: card.encode(), PICTURE: picture}
    for name, content in files.items():
        Path(job.folder, name).write_bytes(content)
    tell(Progress("exported", f"ONNX graphs agree with their estimators within {measures.parity:.1e}", 0.95))
    return Package(
        input_schema=input_schema,
        output_schema=output_schema,
        parameters=_parameters(primary.estimator),
        metadata=_metadata(spec, columns, outputs, list(graphs))
        | {"reference": reference(table.frame, columns, primary.probability)},
        measures=measures,
        data_sha256=table.sha256,
        data_rows=len(table.target),
        data_source=table.source,
        weights_sha256=primary.graph.weights,
        card=card,
        files=tuple(files),
        picture=PICTURE,
    )


def _spec(declared: Declarations, job: Job) -> TrainingSpec:
    for spec in declared.of(TrainingSpec):
        if spec.model == job.model:
            return spec
    raise NotFound(f"{Path(job.system_file).name} declares no training of {job.model}")


def _dataset(spec: TrainingSpec, job: Job) -> Dataset:
    dataset = spec.data(None if job.source is None else Path(job.source), job.seed)
    if not isinstance(dataset, Dataset):
        raise InvalidInput(f"the data function of {spec.model} gave a {type(dataset).__name__}, not a Dataset")
    return dataset if job.origin is None else replace(dataset, source=f"{dataset.source} ({job.origin})")


def _split(table: Table, spec: TrainingSpec, seed: int) -> Split:
    from sklearn.model_selection import train_test_split

    if table.moments is not None:
        return _split_by_time(table, table.moments, spec)
    try:
        parts = train_test_split(
            table.frame, table.target, test_size=spec.test_share, stratify=table.target, random_state=seed
        )
    except ValueError as error:
        raise InvalidInput(f"the data cannot be split: {error}") from error
    train, test, train_target, test_target = parts
    return Split(train, test, train_target, test_target)


def _split_by_time(table: Table, moments: Vector, spec: TrainingSpec) -> Split:
    """The newest rows held out: a random split would let the model learn from what happened after its questions."""
    import numpy

    order = numpy.argsort(moments, kind="stable")
    cut = len(order) - max(1, round(len(order) * spec.test_share))
    old, new = order[:cut], order[cut:]
    for part, name in ((old, "oldest"), (new, "newest")):
        if len(set(table.target[part].tolist())) < 2:
            raise InvalidInput(
                f"the {name} {len(part)} rows all have the same outcome, so nothing can be learnt or measured",
                next_step="Give rows of a longer time, or another `test_share`.",
            )
    return Split(table.frame.iloc[old], table.frame.iloc[new], table.target[old], table.target[new])


def _fit(declared: Callable[[], Any], split: Split, columns: Sequence[Column], seed: int) -> Fitted:
    estimator = declared()
    if not hasattr(estimator, "predict_proba") or not inspect.ismethod(getattr(estimator, "fit", None)):
        raise InvalidInput(f"{type(estimator).__name__} is not a classifier with probabilities")
    _seed(estimator, seed)
    estimator.fit(split.train, split.train_target)
    graph = exported(estimator, columns)
    parity = checked_parity(graph, estimator, split.test, columns)
    return Fitted(estimator, estimator.predict_proba(split.test)[:, 1], graph, parity)


def _seed(estimator: Any, seed: int) -> None:
    """Give the seed to every part that takes one and was declared without: the same job gives the same model."""
    parameters = estimator.get_params()
    unset = {name: seed for name, value in parameters.items() if name.endswith("random_state") and value is None}
    if unset:
        estimator.set_params(**unset)


def _name(estimator: Any) -> str:
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__


def _parameters(estimator: Any) -> dict[str, Json]:
    plain = {k: v for k, v in estimator.get_params().items() if isinstance(v, str | int | float | bool)}
    return {"estimator": _name(estimator), **dict(sorted(plain.items()))}


def _metadata(
    spec: TrainingSpec, columns: Sequence[Column], outputs: dict[str, str | None], graphs: list[str]
) -> dict[str, Json]:
    """What a runtime needs besides the graphs: how to fill the one input, and how to read the output."""
    return {
        "input": INPUT,
        "output": OUTPUT,
        "columns": [{"name": c.name, "kind": c.kind, "categories": list(c.categories)} for c in columns],
        "probability": outputs["probability"],
        "label": outputs["label"],
        "bands": [[name, bound] for name, bound in spec.bands.items()],
        "rungs": {name: file for name, file in (("primary", MODEL), ("simple", SIMPLE)) if file in graphs},
    }
