"""LightGBM and XGBoost estimators become graphs that agree with them, alone and inside pipelines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Literal

import numpy
import pandas
import pytest
from pydantic import BaseModel

from stanchion.core.errors import InvalidInput
from stanchion.training import Dataset
from stanchion.training.worker.boosting import convertible
from stanchion.training.worker.columns import Column, Table, columns_of, table_of
from stanchion.training.worker.graph import checked_parity, exported, matrix, probabilities

lightgbm = pytest.importorskip("lightgbm")
xgboost = pytest.importorskip("xgboost")


class Mixed(BaseModel):
    size: float
    colour: Literal["red", "green"]
    income: float | None = None


class Numbers(BaseModel):
    size: float
    income: float | None = None


def light(**options: Any) -> Any:
    return lightgbm.LGBMClassifier(n_estimators=30, verbose=-1, n_jobs=1, **options)


def extreme(**options: Any) -> Any:
    return xgboost.XGBClassifier(n_estimators=30, n_jobs=1, **options)


def piped(model: Any) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(make_column_transformer((words, ["colour"]), remainder="passthrough"), model)


def averaged() -> Any:
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    linear = make_pipeline(StandardScaler(), LogisticRegression())
    return VotingClassifier([("trees", light()), ("line", linear)], voting="soft", flatten_transform=False)


def told(kind: type[BaseModel], *, absent: float = 0.2) -> tuple[tuple[Column, ...], Table]:
    draw = numpy.random.default_rng(3)
    income = draw.lognormal(8, 1, 1500)
    frame = pandas.DataFrame(
        {
            "size": draw.normal(scale=100, size=1500),
            "colour": draw.choice(["red", "green"], 1500),
            "income": numpy.where(draw.random(1500) < absent, numpy.nan, income),
        }
    )
    target = (frame["size"] / 80 + (frame["colour"] == "red") + draw.normal(size=1500) > 0.3).astype(int).to_numpy()
    columns = columns_of(kind.model_json_schema())
    return columns, table_of(Dataset(frame, target, "made up"), columns)


@pytest.mark.parametrize(
    ("kind", "estimator"),
    [
        (Mixed, lambda: piped(light())),
        (Mixed, lambda: piped(extreme())),
        (Numbers, light),
        (Numbers, lambda: light(boosting_type="dart")),
        (Numbers, extreme),
        (Numbers, lambda: extreme(base_score=0.3)),
    ],
)
def test_a_boosted_estimator_and_its_graph_agree_absent_values_included(
    kind: type[BaseModel], estimator: Callable[[], Any]
) -> None:
    columns, table = told(kind)
    fitted = estimator().fit(table.frame, table.target)
    graph = exported(fitted, columns)
    assert checked_parity(graph, fitted, table.frame, columns) < 1e-5
    answers = probabilities(graph, matrix(table.frame, columns))
    assert len(set(answers.round(4).tolist())) > 20


def test_a_boosted_estimator_among_others_is_exported_too() -> None:
    columns, table = told(Numbers, absent=0.0)
    fitted = averaged().fit(table.frame, table.target)
    assert checked_parity(exported(fitted, columns), fitted, table.frame, columns) < 1e-5


def test_export_leaves_the_estimators_own_column_names_alone() -> None:
    _, table = told(Numbers)
    fitted = extreme().fit(table.frame, table.target)
    assert convertible(fitted) is not fitted
    assert fitted.get_booster().feature_names == ["size", "income"]


def test_an_estimator_that_the_converter_cannot_express_is_refused() -> None:
    columns, table = told(Numbers)
    with pytest.raises(InvalidInput, match="cannot be exported"):
        exported(extreme(booster="dart").fit(table.frame, table.target), columns)


def test_without_the_converter_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxmltools.convert.lightgbm.operator_converters.LightGbm", None)
    with pytest.raises(InvalidInput) as caught:
        convertible(light())
    assert "stanchion[boosting]" in caught.value.hint
