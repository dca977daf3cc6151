"""A declared system answers inside a test as it does when served: no server, no key, no network, nothing kept."""

from __future__ import annotations

import doctest
import importlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stanchion import System
from stanchion.core.errors import Misconfigured, NotAllowed, NotFound, Unavailable
from stanchion.core.security.contract import Audit
from stanchion.features import Features, Row
from stanchion.registry import Registry
from stanchion.testing import no_network, offline
from stanchion.testing.clock import FakeClock

POPULATION = """
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from stanchion import Dataset, System

app = System("sides")


class Point(BaseModel):
    x: float
    y: float


class Side(BaseModel):
    prediction: Literal["left", "right"]
    probability: float


side = app.trained("side", input=Point, output=Side, bands={"left": 0.0, "right": 0.5},
                   default=Side(prediction="left", probability=0.5))


@side.data
def points(source: Path | None, seed: int) -> Dataset:
    import numpy
    import pandas

    generator = numpy.random.default_rng(seed)
    rows = pandas.DataFrame(generator.normal(size=(300, 2)), columns=["x", "y"])
    return Dataset(rows, (rows["x"] + rows["y"] > 0).astype(int).to_numpy(), source="generated")


@side.estimator
def line() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())


@side.rule
def middle(point: Point) -> Side | None:
    return Side(prediction="right", probability=1.0) if point.x > 100 else None
"""


class Text(BaseModel):
    text: str


class Count(BaseModel):
    letters: int


class Seen(BaseModel):
    visits: int


class Letters:
    """A system with a Python function, its fallback, and a feature view."""

    def __init__(self) -> None:
        self.app = System("letters")
        self.seen = self.app.features("seen", Seen, entity="customer", ttl=timedelta(days=1))

        def guess(item: Text) -> Count:
            return Count(letters=-1)

        @self.app.model("count", fallback=guess)
        async def count(items: Sequence[Text]) -> list[Count]:
            if any(item.text == "break" for item in items):
                raise RuntimeError("broken")
            return [Count(letters=len(item.text)) for item in items]

        @self.app.model("bare")
        async def bare(items: Sequence[Text]) -> list[Count]:
            raise RuntimeError("broken")

        self.count, self.bare = count, bare


@pytest.fixture
def letters() -> Letters:
    return Letters()


def test_the_example_of_the_documentation_runs() -> None:
    module = importlib.import_module("stanchion.testing.offline")
    tried = doctest.DocTestRunner()
    for case in doctest.DocTestFinder().find(module.offline, "offline", globs={}):
        tried.run(case)
    assert (tried.summarize(verbose=False).failed, tried.tries > 5) == (0, True)


async def test_functions_and_fallbacks_answer(letters: Letters) -> None:
    async with offline(letters.app) as running:
        assert await letters.count.predict_many(running.ctx, [Text(text="ab"), Text(text="")]) == [
            Count(letters=2),
            Count(letters=0),
        ]
        assert await letters.count.predict(running.ctx, Text(text="break")) == Count(letters=-1)
        with pytest.raises(Unavailable):
            await letters.bare.predict(running.ctx, Text(text="x"))


async def test_features_hold_what_was_pushed_and_age_by_the_clock_given(letters: Letters) -> None:
    clock = FakeClock(datetime.now(UTC))
    async with offline(letters.app, clock=clock) as running:
        await running.door(Features).push(running.ctx, "seen", [Row("anna", {"visits": 3}, clock.now())])
        assert await letters.seen.read(running.ctx, "anna") == [Seen(visits=3)]
        clock.advance(86_401)
        with pytest.raises(NotFound, match="stale"):
            await letters.seen.read(running.ctx, "anna")


async def test_handles_work_inside_the_block_only(letters: Letters) -> None:
    async with offline(letters.app) as running:
        pass
    with pytest.raises(Misconfigured, match="not running"):
        await letters.count.predict(running.ctx, Text(text="x"))


async def test_a_caller_has_the_rights_it_is_given_and_every_effect_is_audited(letters: Letters) -> None:
    async with offline(letters.app, tenant="acme") as running:
        assert (running.ctx.tenant, running.caller().tenant) == ("acme", "acme")
        with pytest.raises(NotAllowed):
            await letters.count.predict(running.caller(), Text(text="x"))
        predictor = running.caller(scopes=["serving:predict"])
        assert await letters.count.predict(predictor, Text(text="x")) == Count(letters=1)
        with pytest.raises(NotFound):
            await letters.count.predict(running.caller("admin", tenant="rival"), Text(text="x"))
        [denied] = await running.door(Audit).events(running.ctx)
        assert (denied.action, denied.outcome) == ("serving:predict", "denied")


def held(folder: Path) -> int:
    return len(list(folder.iterdir()))


async def test_each_block_begins_with_nothing_and_leaves_nothing(
    letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with no_network() as tried:
            async with offline(letters.app) as running:
                assert await running.door(Registry).models(running.ctx) == []
                assert held(tmp_path) == 1
        assert (tried, held(tmp_path)) == ([], 0)


async def test_an_error_in_the_block_comes_out_as_it_is(letters: Letters) -> None:
    with pytest.raises(ZeroDivisionError):
        async with offline(letters.app):
            raise ZeroDivisionError


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of a system file with a trained model."""
    (tmp_path / "sides_system.py").write_text(POPULATION)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("sides_system")
    del sys.modules["sides_system"]


async def test_rule_and_default_answer_for_a_model_that_was_never_trained(sides: Any) -> None:
    async with offline(sides.app) as running:
        far, near = sides.Point(x=101, y=0), sides.Point(x=0, y=0)
        assert (await sides.side.predict(running.ctx, far)).probability == 1.0
        assert (await sides.side.predict(running.ctx, near)).probability == 0.5


async def test_a_model_named_in_train_answers_by_its_graph(sides: Any) -> None:
    async with offline(sides.app, train=["side"]) as running:
        assert (await sides.side.predict(running.ctx, sides.Point(x=2, y=2))).prediction == "right"
        assert (await sides.side.predict(running.ctx, sides.Point(x=-2, y=-2))).probability < 0.5
        assert (await running.door(Registry).resolve(running.ctx, "side@production")).version == "1.0.0"


async def test_a_model_that_is_not_declared_cannot_be_trained(sides: Any) -> None:
    with pytest.raises(NotFound):
        async with offline(sides.app, train=["other"]):
            pass


async def test_settings_of_modules_are_those_of_the_configuration_file() -> None:
    with pytest.raises(Misconfigured, match="log_days"):
        async with offline(System("empty"), settings={"features": {"log_days": "soon"}}):
            pass
    async with offline(System("empty"), settings={"features": {"log_days": 30}}) as running:
        assert await running.door(Features).services(running.ctx) == []
