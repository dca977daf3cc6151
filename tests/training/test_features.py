"""A model that reads a feature service learns from what was known at each row's moment."""

from __future__ import annotations

import io
import textwrap
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.context import Context
from stanchion.core.declaration import load_declarations
from stanchion.core.errors import InvalidInput, Misconfigured, NotFound
from stanchion.features import Service
from stanchion.training import TrainingSpec

SYSTEM = """
from datetime import timedelta
from typing import Annotated
import numpy, pandas
from pydantic import BaseModel
from stanchion.core.declaration import Declarations
from stanchion.features import ServiceSpec, ViewSpec
from stanchion.training import Dataset, TrainingSpec, identifier

class Payment(BaseModel):
    card: Annotated[str, identifier]
    amount: float

class Habits(BaseModel):
    card: str
    usual: float | None

class Out(BaseModel):
    probability: float

def data(source, seed):
    draw = numpy.random.default_rng(seed)
    amount, usual = draw.exponential(50, size=400), draw.exponential(50, size=400)
    at = pandas.Timestamp("2026-01-01", tz="UTC") + pandas.to_timedelta(draw.permutation(400), unit="h")
    rows = pandas.DataFrame({"card": [f"{value:.6f}" for value in usual], "amount": amount, "at": at, "noise": 1})
    return Dataset(rows, (amount > usual).astype(int), "made up", TIME)

def estimator():
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    columns = make_column_transformer(("passthrough", ["amount", "usual"]))
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=20))

app = Declarations("payments")
app.add(ViewSpec("habits", Habits, "card", timedelta(days=30)))
app.add(ServiceSpec("habits_of_cards", ["habits"]))
app.add(TrainingSpec(model="fraud", input=Payment, output=Out, data=data, estimator=estimator, features=NAME,
                     entities={"card": "card"}))
"""


class Store:
    """A feature store that knows the usual amount of a card from its name, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, list[str]]] = []

    async def services(self, ctx: Context) -> Sequence[Service]:
        return [
            Service(
                name="habits_of_cards",
                fingerprint="f1",
                views=["habits"],
                on_demand=[],
                entities=["card"],
                request=[],
                fields={"usual": "number|null"},
                origins={"usual": "habits"},
                reads={},
            )
        ]

    async def historical(self, ctx: Context, service: str, spine: bytes, *, time: str) -> AsyncIterator[bytes]:
        import pyarrow

        table = pyarrow.ipc.open_stream(spine).read_all()
        self.asked.append((service, time, table.column_names))
        usual = [float(card) if float(card) < 200 else None for card in table["card"].to_pylist()]
        table = table.append_column("usual", pyarrow.array(usual, pyarrow.float64()))
        sink = io.BytesIO()
        with pyarrow.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        yield sink.getvalue()[:100]
        yield sink.getvalue()[100:]


@pytest.fixture
def declared(tmp_path: Path) -> Any:
    def write(*, time: str | None = "at", name: str = "habits_of_cards") -> dict[str, Any]:
        path = tmp_path / "features.py"
        path.write_text(textwrap.dedent(SYSTEM).replace("TIME", repr(time)).replace("NAME", repr(name)))
        return {"system_file": path, "specs": load_declarations(path).of(TrainingSpec)}

    return write


async def all_of(stream: Any) -> list[Any]:
    return [event async for event in stream]


async def test_features_are_joined_in_the_parent_and_become_columns(
    service: Any, declared: Any, ctx: Any, registry: Any
) -> None:
    store = Store()
    events = await all_of(service(**declared(), features=store).train(ctx, "fraud"))
    assert events[-1].report.roc_auc > 0.9  # the outcome hangs on the joined column as much as on the amount
    assert store.asked == [("habits_of_cards", "at", ["card", "amount", "at"])]
    version = await registry.resolve(ctx, "fraud")
    assert [column["name"] for column in version.metadata["columns"]] == ["amount", "usual"]
    assert version.metadata["features"] == {"service": "habits_of_cards", "fingerprint": "f1", "fields": ["usual"]}
    assert set(version.input_schema["properties"]) == {"card", "amount"}


async def test_the_newest_rows_are_held_out_where_rows_have_a_time(
    service: Any, declared: Any, ctx: Any, registry: Any
) -> None:
    events = await all_of(service(**declared(), features=Store()).train(ctx, "fraud"))
    assert (events[-1].report.train_rows, events[-1].report.test_rows) == (320, 80)
    assert "the newest by time" in (await registry.resolve(ctx, "fraud")).card


async def test_a_dataset_without_a_time_cannot_have_features(service: Any, declared: Any, ctx: Any) -> None:
    with pytest.raises(InvalidInput, match="at which moment"):
        await all_of(service(**declared(time=None), features=Store()).train(ctx, "fraud"))


async def test_an_unknown_service_is_refused_before_anything_runs(service: Any, declared: Any, ctx: Any) -> None:
    with pytest.raises(NotFound, match="nothing_like_it"):
        await all_of(service(**declared(name="nothing_like_it"), features=Store()).train(ctx, "fraud"))


async def test_a_system_without_a_feature_store_says_so(service: Any, declared: Any, ctx: Any) -> None:
    with pytest.raises(Misconfigured, match="no feature store"):
        await all_of(service(**declared()).train(ctx, "fraud"))
