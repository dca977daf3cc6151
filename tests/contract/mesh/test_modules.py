"""Registry, features, serving and training keep their contracts behind a real gate, and from afar over mutual TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.declaration import Declarations, load_declarations
from stanchion.features import Features
from stanchion.registry import Registry
from stanchion.serving import Serving
from stanchion.testing.clock import FakeClock
from stanchion.testing.features import SPECS as FEATURES
from stanchion.testing.features import FeaturesSuite
from stanchion.testing.registry import RegistrySuite
from stanchion.testing.serving import SPECS, ServingSuite
from stanchion.testing.training import TrainingSuite
from stanchion.training import Training

WAYS = ["gated-memory", "far-embedded", "far-servers"]
TRAINED = """
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stanchion import Dataset, System

app = System("suite")


class Point(BaseModel):
    x: float
    y: float


class Side(BaseModel):
    probability: float


side = app.trained("suite", input=Point, output=Side)


@side.data
def points(source: Path | None, seed: int) -> Dataset:
    import numpy
    import pandas

    generator = numpy.random.default_rng(seed)
    rows = pandas.DataFrame(generator.normal(size=(300, 2)), columns=["x", "y"])
    target = (rows["x"] + rows["y"] + generator.normal(size=300) > 0).astype(int)
    return Dataset(rows, target.to_numpy(), source="generated")


@side.estimator
def line() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())
"""


def declared(*specs: object) -> Declarations:
    made = Declarations("suite")
    for spec in specs:
        made.add(spec)
    return made


@pytest.mark.parametrize("way", WAYS, indirect=True)
class TestRegistry(RegistrySuite):
    @pytest.fixture
    async def registry(self, placed: Any) -> AsyncIterator[Registry]:
        async with placed("registry", clock=SystemClock()) as place:
            yield place.door(Registry)


@pytest.mark.parametrize("way", WAYS, indirect=True)
class TestFeatures(FeaturesSuite):
    @pytest.fixture
    async def features(self, placed: Any, clock: FakeClock) -> AsyncIterator[Features]:
        async with placed("features", clock=clock, declared=declared(*FEATURES)) as place:
            yield place.door(Features)


@pytest.mark.parametrize("way", ["gated-memory", "far-embedded"], indirect=True)
class TestServing(ServingSuite):
    @pytest.fixture
    async def serving(self, placed: Any) -> AsyncIterator[Serving]:
        async with placed("registry", "serving", clock=SystemClock(), declared=declared(*SPECS)) as place:
            yield place.door(Serving)


@pytest.mark.parametrize("way", ["far-embedded"], indirect=True)
class TestTraining(TrainingSuite):
    """With the real worker, unlike the suite's other runs."""

    @pytest.fixture
    async def training(self, placed: Any, tmp_path: Path) -> AsyncIterator[Training]:
        file = tmp_path / "system.py"
        file.write_text(TRAINED)
        system = load_declarations(file)
        async with placed("registry", "training", clock=SystemClock(), declared=system, system_file=file) as place:
            yield place.door(Training)
