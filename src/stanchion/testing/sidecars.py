"""The contract of Sidecars as tests: subclass `SidecarsSuite` with a door that serves `MODELS` and `SIDECARS`.

The door's system must belong to the tenant `t1`, hold no advice, and permit everybody all. Of the flags `FLAGS`, `on`
is true for everybody, and `off` for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from pydantic import BaseModel

from stanchion.core.context import Context, Rights, new_request_id
from stanchion.core.errors import InvalidInput, NotFound
from stanchion.core.flags import Flag
from stanchion.core.values import Json
from stanchion.serving import Advice, GuardBand, ServedSpec, Serving, Settled, SidecarSpec

FLAGS = (
    Flag(key="on", variants={"on": True, "off": False}, default="on"),
    Flag(key="off", variants={"on": True, "off": False}, default="off"),
)


class Asked(BaseModel):
    """What the model is asked: it says the price back."""

    price: float
    sure: float = 0.9


class Told(BaseModel):
    """What it says."""

    price: float
    sure: float
    words: dict[str, list[float]]


async def echo(items: Sequence[Asked]) -> list[Told]:
    """The prices; none for 13, where it fails."""
    if any(item.price == 13 for item in items):
        raise RuntimeError("thirteen")
    return [Told(price=item.price, sure=item.sure, words={"ä\0": [item.price]}) for item in items]


async def hang(items: Sequence[Asked]) -> list[Told]:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError


MODELS = (ServedSpec("echo", Asked, Told, function=echo), ServedSpec("hang", Asked, Told, function=hang))
_BAND = GuardBand(min_confidence=0.5, max_deviation=0.15)
SIDECARS = (
    SidecarSpec("price", "echo", "on", "price", "sure", _BAND, limit=30),
    SidecarSpec("off", "echo", "off", "price"),
    SidecarSpec("slow", "hang", "on", "price", limit=0.05),
    SidecarSpec("words", "echo", "on", "words", limit=30),
)


def caller(request: str = "", tenant: str = "t1") -> Context:
    """A caller with every right, and a request of its own."""
    rights = Rights(frozenset({"admin"}), frozenset({"*"}))
    return replace(Context(tenant, "ada", rights), request_id=request or new_request_id())


async def ask(
    serving: Serving, request: str, features: Mapping[str, Json], base: Json = 100.0, sidecar: str = "price"
) -> Advice:
    """One advice."""
    return await serving.advise(caller(request), sidecar, features, base, unit="c1")


async def stored(serving: Serving, sidecar: str = "price") -> None:
    """Return once all that was advised is stored."""
    assert await serving.settle(caller(), sidecar, [Settled("nobody", 1.0)]) == 0


class SidecarsSuite:
    """Override the async fixture `serving`."""

    @pytest.fixture
    def serving(self) -> Serving:
        raise NotImplementedError("give the suite a door that serves MODELS and SIDECARS")

    @pytest.mark.parametrize(
        ("sidecar", "features", "reason", "value"),
        [
            ("price", {"price": 110.0}, "ai", 110.0),
            ("price", {"price": 115.0}, "ai", 115.0),
            ("price", {"price": 115.01}, "outside_band", 100.0),
            ("price", {"price": 110.0, "sure": 0.5}, "low_confidence", 100.0),
            ("price", {"price": 13.0}, "error", 100.0),
            ("price", {"price": "dear"}, "error", 100.0),
            ("off", {"price": 110.0}, "flag_off", 100.0),
            ("slow", {"price": 110.0}, "timeout", 100.0),
        ],
    )
    async def test_an_advice_says_where_it_is_from_and_why(
        self, serving: Serving, sidecar: str, features: dict[str, Json], reason: str, value: float
    ) -> None:
        advice = await ask(serving, "r1", features, sidecar=sidecar)
        assert (advice.request_id, advice.sidecar, advice.base) == ("r1", sidecar, 100.0)
        assert (advice.reason, advice.value) == (reason, value)
        assert advice.source == ("ai" if reason == "ai" else "base")
        assert bool(advice.detail) is (reason != "ai")
        await stored(serving, sidecar)
        assert (await serving.sidecar(caller(), sidecar)).reasons == {reason: 1}

    async def test_figures_are_those_of_every_advice(self, serving: Serving) -> None:
        for number, price in enumerate((110.0, 90.0, 150.0, 13.0)):
            await ask(serving, f"r{number}", {"price": price})
        await stored(serving)
        report = await serving.sidecar(caller(), "price")
        assert (report.sidecar, report.model, report.flag, report.days) == ("price", "echo", "on", 7.0)
        assert (report.calls, report.dropped) == (4, 0)
        assert report.reasons == {"ai": 2, "error": 1, "outside_band": 1}
        assert report.deviation == pytest.approx((0.1 - 0.1 + 0.5) / 3)
        assert report.by_reason["ai"].mean_outcome is None

    async def test_outcomes_are_joined_to_their_advices(self, serving: Serving) -> None:
        for number, price in enumerate((110.0, 111.0, 150.0)):
            await ask(serving, f"r{number}", {"price": price})
        told = [Settled("r0", 1.0), Settled("r1", 0.0), Settled("nobody", 1.0)]
        assert await serving.settle(caller(), "price", told) == 2
        assert await serving.settle(caller(), "price", told) == 2, "the same again changes nothing"
        figures = (await serving.sidecar(caller(), "price")).by_reason
        assert (figures["ai"].calls, figures["ai"].settled, figures["ai"].mean_outcome) == (2, 2, 0.5)
        assert (figures["outside_band"].settled, figures["outside_band"].mean_outcome) == (0, None)
        assert await serving.settle(caller(), "price", [Settled("r1", 3.0), Settled("r2", -2.5)]) == 2
        figures = (await serving.sidecar(caller(), "price")).by_reason
        assert (figures["ai"].mean_outcome, figures["outside_band"].mean_outcome) == (2.0, -2.5)

    async def test_outcomes_of_one_sidecar_are_none_of_another(self, serving: Serving) -> None:
        await ask(serving, "r0", {"price": 110.0})
        assert await serving.settle(caller(), "words", [Settled("r0", 1.0)]) == 0
        assert await serving.settle(caller(), "price", [Settled("r0", 1.0)]) == 1

    async def test_a_request_that_asks_twice_counts_once(self, serving: Serving) -> None:
        await ask(serving, "r0", {"price": 110.0})
        await stored(serving)
        assert (await ask(serving, "r0", {"price": 90.0})).value == 90.0
        await ask(serving, "r0", {"price": 80.0})
        await stored(serving)
        report = await serving.sidecar(caller(), "price")
        assert report.calls == 1
        assert report.deviation == pytest.approx(0.1)

    async def test_values_may_be_any_json(self, serving: Serving) -> None:
        base: Json = {"deep": [None, True, "ä\0", {"x": 1.5}]}
        advice = await ask(serving, "r0", {"price": 2.5}, base, "words")
        assert (advice.source, advice.value, advice.base) == ("ai", {"ä\0": [2.5]}, base)
        await stored(serving, "words")
        report = await serving.sidecar(caller(), "words")
        assert (report.calls, report.deviation) == (1, None)

    async def test_many_at_once_are_all_kept(self, serving: Serving) -> None:
        for first in range(0, 700, 50):
            await asyncio.gather(*(ask(serving, f"r{first + n}", {"price": 100.0 + n % 20}) for n in range(50)))
        told = [Settled(f"r{n}", float(n % 2)) for n in range(700)]
        assert await serving.settle(caller(), "price", told) == 700
        report = await serving.sidecar(caller(), "price")
        assert (report.calls, report.reasons) == (700, {"ai": 588, "outside_band": 112})
        assert sum(each.settled for each in report.by_reason.values()) == 700

    async def test_figures_are_of_the_days_asked_for(self, serving: Serving) -> None:
        await ask(serving, "r0", {"price": 110.0})
        await stored(serving)
        moment = await serving.sidecar(caller(), "price", days=1e-9)
        assert (moment.calls, moment.reasons, moment.deviation) == (0, {}, None)
        for days in (0.0, -1.0, 3651.0):
            with pytest.raises(InvalidInput):
                await serving.sidecar(caller(), "price", days=days)

    async def test_sidecars_are_listed_by_name_to_their_tenant(self, serving: Serving) -> None:
        assert [each.sidecar for each in await serving.sidecars(caller())] == ["off", "price", "slow", "words"]
        assert list(await serving.sidecars(caller(tenant="t2"))) == []
        stranger = caller(tenant="t2")
        for call in (
            serving.sidecar(stranger, "price"),
            serving.advise(stranger, "price", {"price": 1.0}, 1.0),
            serving.settle(stranger, "price", [Settled("r0", 1.0)]),
            serving.sidecar(caller(), "nowhere"),
            serving.advise(caller(), "nowhere", {}, 1.0),
            serving.settle(caller(), "nowhere", [Settled("r0", 1.0)]),
        ):
            with pytest.raises(NotFound):
                await call

    async def test_outcomes_have_limits(self, serving: Serving) -> None:
        for outcomes in ([], [Settled("r", 1.0)] * 1_001):
            with pytest.raises(InvalidInput):
                await serving.settle(caller(), "price", outcomes)
        with pytest.raises(InvalidInput) as caught:
            await serving.settle(caller(), "price", [Settled("r", 1.0), Settled("r", float("nan"))])
        assert caught.value.fields[0].path == "$.outcomes[1].outcome"
