"""Trains a router from outcomes: questions, and whether the cheap model's answer to each would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...core.errors import InvalidInput, Misconfigured
from ..contract.cascade import Outcome
from .router import BINS, Router, vector

_LEAST = 50
_FOLDS = 5
_COLUMNS = BINS + 6


@dataclass(frozen=True, slots=True)
class Trained:
    """A router, and for each outcome its score by a router that had not seen it: what a threshold is calibrated on."""

    router: Router
    unseen: Sequence[float]


def train(outcomes: Sequence[Outcome], *, seed: int = 7) -> Trained:
    """A router trained on all outcomes. Raises InvalidInput where there are too few, or of one kind only."""
    good = sum(outcome.good for outcome in outcomes)
    if len(outcomes) < _LEAST or min(good, len(outcomes) - good) < _FOLDS:
        raise InvalidInput(
            f"{len(outcomes)} outcomes of which {good} are good are too few to train a router",
            next_step=f"Label {_LEAST} or more, with at least {_FOLDS} of each kind.",
        )
    linear, selection, sparse = _libraries()
    matrix = _matrix([outcome.question for outcome in outcomes], sparse)
    labels = [int(outcome.good) for outcome in outcomes]
    folds = selection.StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    search = selection.GridSearchCV(
        linear.LogisticRegression(max_iter=1000), {"C": [0.1, 1.0, 10.0]}, scoring="neg_log_loss", cv=folds
    ).fit(matrix, labels)
    unseen = selection.cross_val_predict(search.best_estimator_, matrix, labels, cv=folds, method="predict_proba")
    scores = [float(row[1]) for row in unseen]
    best = search.best_estimator_
    weights = (*map(float, best.coef_[0]), float(best.intercept_[0]))
    return Trained(Router(weights, len(outcomes), auc(scores, [outcome.good for outcome in outcomes])), scores)


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """The area under the ROC curve: how often a good one scores higher than another, ties half."""
    order = sorted(set(scores))
    ranks = {score: place for place, score in enumerate(order)}
    good = [0] * len(order)
    bad = [0] * len(order)
    for score, label in zip(scores, labels, strict=True):
        (good if label else bad)[ranks[score]] += 1
    below, won = 0, 0.0
    for place in range(len(order)):
        won += good[place] * (below + bad[place] / 2)
        below += bad[place]
    return won / (sum(good) * sum(bad))


def _matrix(questions: Sequence[str], sparse: Any) -> Any:
    rows, columns, values = [], [], []
    for row, question in enumerate(questions):
        for column, value in vector(question).items():
            rows.append(row)
            columns.append(column)
            values.append(value)
    return sparse.csr_matrix((values, (rows, columns)), shape=(len(questions), _COLUMNS))


def _libraries() -> tuple[Any, Any, Any]:
    try:
        from scipy import sparse
        from sklearn import linear_model, model_selection
    except ModuleNotFoundError as error:
        raise Misconfigured(
            "training a router needs the extra `train`", next_step="Run `pip install 'stanchion[train]'`."
        ) from error
    return linear_model, model_selection, sparse
