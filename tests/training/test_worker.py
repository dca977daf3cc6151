"""What the worker makes of data and estimators: parity, lineage, and refusals that name the place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy
import onnxruntime
import pandas
import pytest
from pydantic import BaseModel, Field
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from stanchion.core.errors import InvalidInput
from stanchion.training import Dataset, TrainingSpec, aside, identifier
from stanchion.training.worker.columns import Column, columns_of, table_of
from stanchion.training.worker.graph import checked_parity, exported, matrix, probabilities
from stanchion.training.worker.measure import measured, reliability
from stanchion.training.worker.outcome import fields_of


class Row(BaseModel):
    row_id: Annotated[str, identifier]
    size: float = Field(ge=-1000, le=1000)
    colour: Literal["red", "green", "blue"] = "red"
    flag: bool = False
    shape: Literal["round", "square"]
    income: float | None = None
    note: Annotated[list[str] | None, aside] = None


COLUMNS = columns_of(Row.model_json_schema())


def rows(count: int = 400, *, absent: float = 0.2) -> Dataset:
    draw = numpy.random.default_rng(3)
    income = draw.lognormal(8, 1, count)
    frame = pandas.DataFrame(
        {
            "shape": draw.choice(["round", "square"], count),
            "size": draw.normal(scale=100, size=count),
            "colour": draw.choice(["red", "green"], count),
            "flag": draw.random(count) < 0.4,
            "income": numpy.where(draw.random(count) < absent, numpy.nan, income),
            "ignored": "x",
        }
    )
    score = frame["size"] / 80 + (frame["colour"] == "red") - frame["flag"] + draw.normal(size=count)
    return Dataset(frame, (score > 0.3).astype(int).to_numpy(), "made up")


def test_columns_are_the_features_in_order_of_the_type() -> None:
    assert [(c.name, c.kind) for c in COLUMNS] == [
        ("size", "number"), ("colour", "category"), ("flag", "number"), ("shape", "category"), ("income", "number"),
    ]  # fmt: skip
    assert COLUMNS[1].categories == ("red", "green", "blue")
    assert (COLUMNS[4].nullable, COLUMNS[0].nullable) == (True, False)


class Free(BaseModel):
    name: str


class Nullable(BaseModel):
    colour: Literal["a", "b"] | None = None


class Nothing(BaseModel):
    row_id: Annotated[str, identifier]


@pytest.mark.parametrize("kind", [Free, Nullable, Nothing])
def test_a_type_that_gives_no_columns_is_refused(kind: type[BaseModel]) -> None:
    with pytest.raises(InvalidInput):
        columns_of(kind.model_json_schema())


def spoilt(**columns: Any) -> Dataset:
    dataset = rows()
    return replace(dataset, rows=dataset.rows.assign(**columns))


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        (replace(rows(), rows=rows().rows.drop(columns=["size", "flag"])), "no column size, flag"),
        (spoilt(colour="purple"), r"colour.*'purple'"),
        (spoilt(size="many"), "size.*400 rows hold no number"),
        (spoilt(size=numpy.nan), "size"),
        (spoilt(size=5000.0), "size.*beyond the declared limits"),
        (replace(rows(), target=[1] * 400), "both 0 and 1"),
        (replace(rows(), target=[0, 1, 2, 1] * 100), "both 0 and 1"),
        (replace(rows(), target=[0, 1]), "shape"),
        (Dataset(rows().rows.head(20), [0, 1] * 10, ""), "too few"),
    ],
)
def test_unusable_data_is_refused_with_its_place(dataset: Dataset, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        table_of(dataset, COLUMNS)


def test_the_digest_covers_rows_and_outcomes_and_nothing_else() -> None:
    digest = table_of(rows(), COLUMNS).sha256
    assert table_of(spoilt(ignored="y"), COLUMNS).sha256 == digest
    assert table_of(rows(), COLUMNS).sha256 == digest
    other = rows()
    assert table_of(replace(other, target=1 - numpy.asarray(other.target)), COLUMNS).sha256 != digest
    assert table_of(spoilt(flag=True), COLUMNS).sha256 != digest


def test_numbers_are_what_float32_holds() -> None:
    frame = table_of(spoilt(size=0.1), COLUMNS).frame
    assert frame["size"].iloc[0] == float(numpy.float32(0.1))


WORDS = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
NUMBERS = ["size", "flag", "income"]


def encoded(model: Any, *, numbers: Any = "passthrough", words: Any = WORDS) -> Any:
    return make_pipeline(make_column_transformer((words, ["colour", "shape"]), (numbers, NUMBERS)), model)


SCALED = make_pipeline(SimpleImputer(), StandardScaler())
ESTIMATORS = {
    "histogram boosting": encoded(HistGradientBoostingClassifier(max_iter=30)),
    "gradient boosting": encoded(GradientBoostingClassifier(n_estimators=20), numbers=SimpleImputer()),
    "logistic": encoded(LogisticRegression(), numbers=SCALED),
    "logistic, mixed order": make_pipeline(
        make_column_transformer((SCALED, ["income", "size"]), (WORDS, ["shape"]), ("drop", ["flag"])),
        LogisticRegression(),
    ),
    "forest": encoded(RandomForestClassifier(20, max_depth=5), numbers=SimpleImputer()),
    "extra trees": encoded(ExtraTreesClassifier(20, max_depth=5), numbers=SimpleImputer()),
    "tree": encoded(DecisionTreeClassifier(max_depth=4), numbers=SimpleImputer()),
    "neighbours": encoded(KNeighborsClassifier(5), numbers=SCALED),
    "ordinal words": encoded(
        HistGradientBoostingClassifier(max_iter=20),
        words=OrdinalEncoder(categories=[["red", "green", "blue"], ["round", "square"]]),
    ),
    "one column alone": make_pipeline(make_column_transformer(("passthrough", ["size"])), LogisticRegression()),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_packed_graph_agrees_with_its_estimator(name: str) -> None:
    table, estimator = table_of(rows(), COLUMNS), ESTIMATORS[name]
    estimator.fit(table.frame, table.target)
    graph = exported(estimator, COLUMNS)
    assert checked_parity(graph, estimator, table.frame, COLUMNS) < 1e-5
    session = onnxruntime.InferenceSession(graph.content, providers=["CPUExecutionProvider"])
    assert [(each.name, each.shape[-1]) for each in session.get_inputs()] == [("features", len(COLUMNS))]
    assert [each.name for each in session.get_outputs()] == ["probabilities"]


def test_a_value_that_was_never_seen_in_training_is_answered_as_the_estimator_does() -> None:
    table, estimator = table_of(rows(), COLUMNS), ESTIMATORS["histogram boosting"]
    estimator.fit(table.frame, table.target)
    unseen = table.frame.assign(colour="blue")
    found = probabilities(exported(estimator, COLUMNS), matrix(unseen, COLUMNS))
    assert numpy.abs(found - estimator.predict_proba(unseen)[:, 1]).max() < 1e-5


def test_an_estimator_that_its_graph_does_not_match_is_refused() -> None:
    table = table_of(rows(), COLUMNS)
    one, other = (encoded(HistGradientBoostingClassifier(max_iter=n)).fit(table.frame, table.target) for n in (5, 50))
    with pytest.raises(InvalidInput, match="differs from Pipeline by"):
        checked_parity(exported(one, COLUMNS), other, table.frame, COLUMNS)


def test_an_estimator_that_onnx_cannot_express_is_refused() -> None:
    class Own(LogisticRegression):
        pass

    table = table_of(rows(absent=0), COLUMNS)
    with pytest.raises(InvalidInput, match="cannot be exported"):
        exported(encoded(Own()).fit(table.frame, table.target), COLUMNS)


def test_the_same_fit_has_the_same_weights_and_another_has_others() -> None:
    table = table_of(rows(), COLUMNS)

    def weights(depth: int) -> str:
        model = encoded(HistGradientBoostingClassifier(max_iter=10, max_depth=depth, random_state=1))
        return exported(model.fit(table.frame, table.target), COLUMNS).weights

    assert weights(2) == weights(2) != weights(3)


def test_the_calibration_bins_hold_all_rows_and_a_perfect_forecast_lies_on_the_line() -> None:
    draw = numpy.random.default_rng(5)
    probability = draw.random(20_000)
    target = (draw.random(20_000) < probability).astype(int)
    bins = reliability(target, probability)
    assert sum(each.rows for each in bins) == 20_000
    assert all(abs(each.predicted - each.observed) < 0.04 for each in bins)
    measures = measured(target, probability, train_rows=1, parity=0.0, simple=None)
    assert measures.calibration_error < 0.02
    assert measures.brier == pytest.approx(1 / 6, abs=0.01)
    assert measures.roc_auc == pytest.approx(5 / 6, abs=0.01)


class Bare(BaseModel):
    probability: float


class Labelled(BaseModel):
    label: Literal["no", "yes"]
    probability: float


class Wide(Labelled):
    reason: str


def spec(output: type[BaseModel], bands: dict[str, float]) -> TrainingSpec:
    return TrainingSpec("m", Row, output, lambda source, seed: rows(), lambda: None, bands=bands)


def test_the_output_type_says_which_field_takes_what() -> None:
    assert fields_of(spec(Bare, {}), Bare.model_json_schema()) == {"probability": "probability", "label": None}
    found = fields_of(spec(Labelled, {"no": 0.0, "yes": 0.5}), Labelled.model_json_schema())
    assert found == {"probability": "probability", "label": "label"}


@pytest.mark.parametrize(
    ("output", "bands"), [(Labelled, {}), (Wide, {"no": 0.0}), (Labelled, {"no": 0.0, "maybe": 0.5}), (Nothing, {})]
)
def test_an_output_type_that_cannot_be_filled_is_refused(output: type[BaseModel], bands: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        fields_of(spec(output, bands), output.model_json_schema())


def test_a_column_is_a_plain_value() -> None:
    assert Column("a", "number") == Column("a", "number")


def test_the_worker_needs_no_display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from stanchion.training.worker.picture import drawn

    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    draw = numpy.random.default_rng(5)
    probability = draw.random(200)
    target = (draw.random(200) < probability).astype(int)
    measures = measured(target, probability, train_rows=1, parity=0.0, simple=None)
    first, second = (drawn("m", target, probability, None, measures) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")
