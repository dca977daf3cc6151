"""The system that Stanchion serves in the side-by-side: one trained model of twenty numbers, with nothing left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peers_row import FEATURES, MODEL
from pydantic import BaseModel, Field, create_model

from stanchion import Dataset, System

app = System("peers")

Numbers: Any = create_model("Numbers", **dict.fromkeys(FEATURES, (float, ...)))


class Score(BaseModel):
    """How likely the outcome is."""

    probability: float = Field(ge=0, le=1)


score = app.trained(MODEL, input=Numbers, output=Score)


@score.data
def generated(source: Path | None, seed: int) -> Dataset:
    """The rows that the registered version was trained on."""
    import pandas
    from peers_model import table

    rows, outcomes = table(seed)
    return Dataset(pandas.DataFrame(rows, columns=FEATURES), outcomes, source="generated")


@score.estimator
def boosted() -> Any:
    """Trees of the same size from scikit-learn, should somebody train this file; the benchmark registers LightGBM's."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=100, max_leaf_nodes=31)
