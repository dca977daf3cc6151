"""The service as BentoML's documentation writes it for trees: its LightGBM store, a matrix in, an array out."""

from __future__ import annotations

import bentoml
import numpy as np


@bentoml.service(logging={"access": {"enabled": False}})
class Score:
    """Defaults, but for the access log, which is off as in production."""

    model = bentoml.models.BentoModel("score:latest")

    def __init__(self) -> None:
        self.booster = bentoml.lightgbm.load_model(self.model)

    @bentoml.api
    def predict(self, data: np.ndarray) -> np.ndarray:
        return self.booster.predict(data)
