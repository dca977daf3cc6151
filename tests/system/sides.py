"""A small system: on which side of a line does a point lie?"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from stanchion import Dataset, System

app = System("crashes")


class Point(BaseModel):
    x: float
    y: float


class Side(BaseModel):
    prediction: Literal["left", "right"]
    probability: float = Field(ge=0, le=1)


side = app.trained("side", input=Point, output=Side, bands={"left": 0.0, "right": 0.5})


@side.data
def points(source: Path | None, seed: int) -> Dataset:
    """300 points; which ones stands in a file, so that another training gives another version."""
    import numpy
    import pandas

    number = int((source or Path(__file__).with_name("number.txt")).read_text())
    generator = numpy.random.default_rng(number)
    rows = pandas.DataFrame(generator.normal(size=(300, 2)), columns=["x", "y"])
    target = (rows["x"] + rows["y"] + generator.normal(size=300) > 0).astype(int)
    return Dataset(rows, target.to_numpy(), source="generated")


@side.estimator
def line() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())
