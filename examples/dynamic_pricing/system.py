"""A price for a hotel night: learnt from a price experiment, used only where it is sure and near the base price."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from nights import HIGHEST, LOWEST, experiment
from pydantic import BaseModel, Field

from stanchion import Context, Dataset, System
from stanchion.core.flags import Condition, Flag, Rule
from stanchion.serving import GuardBand
from stanchion.training import identifier

app = System("dynamic_pricing")


class Night(BaseModel):
    """A night that a guest asks for."""

    month: int = Field(ge=1, le=12)
    weekend: bool
    days_ahead: int = Field(ge=0, le=730, description="Days until the night.")
    searches: int = Field(ge=0, le=100_000, description="Searches for this night in the last day.")
    rooms_left: int = Field(ge=1, le=60)


class Offer(Night):
    """The night at a price, as a share of the base price."""

    price_ratio: float = Field(gt=0, le=10)


class Booking(BaseModel):
    """How likely the guest is to book."""

    probability: float = Field(ge=0, le=1)


booking = app.trained(
    "booking",
    input=Offer,
    output=Booking,
    card=(
        "How likely a guest is to book a night at a price. It learnt from prices drawn by lot, so that it may be asked "
        "what another price would do. Not for deciding who is offered a room, and not for prices beyond 0.6 to 1.6 "
        "times the base price, which it has never seen."
    ),
    seed=7,
)


@booking.data
def offers(source: Path | None, seed: int) -> Dataset:
    """The generated experiment: there is no other source."""
    return experiment(seed)


@booking.estimator
def boosted() -> Any:
    """Boosted trees whose answer never rises with the price: a dearer night is not booked more often."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    falls = [0] * len(Night.model_fields) + [-1]
    return HistGradientBoostingClassifier(
        max_iter=120, learning_rate=0.08, max_leaf_nodes=12, min_samples_leaf=60, monotonic_cst=falls
    )


class Room(Night):
    """A night with the base price of its room."""

    room_id: Annotated[str, Field(min_length=1, max_length=64), identifier]
    base_price: float = Field(gt=0, le=100_000, description="What the hotel would ask without a model.")


class Price(BaseModel):
    """A price, and how sure it is.

    `confidence` is the probability that this price earns from this guest at least what the base price would.
    `low` and `high` are the prices that 90 % and 10 % of such guests would pay.
    """

    price: float = Field(gt=0)
    confidence: float = Field(ge=0, le=1)
    expected: float = Field(ge=0, description="Expected revenue at this price.")
    low: float = Field(ge=0)
    high: float = Field(ge=0)


GRID = [round(LOWEST + 0.025 * step, 3) for step in range(round((HIGHEST - LOWEST) / 0.025) + 1)]

CHOICES = [place for place, ratio in enumerate(GRID) if 0.8 <= ratio <= 1.2]
"""A price is chosen among these; the whole grid is for the quantiles."""


@app.model("price")
async def price(rooms: Sequence[Room], ctx: Context | None = None) -> list[Price]:
    """The price of greatest expected revenue, from the chance of a booking at each price of a grid."""
    if ctx is None:
        raise RuntimeError("asked without a caller: serving gives the caller's Context to whoever has a `ctx`")
    asked = [
        Offer(**room.model_dump(include=set(Night.model_fields)), price_ratio=ratio) for room in rooms for ratio in GRID
    ]
    chances = [each.probability for each in await booking.predict_many(ctx, asked)]
    return [_priced(room, chances[place * len(GRID) :][: len(GRID)]) for place, room in enumerate(rooms)]


def _priced(room: Room, chances: Sequence[float]) -> Price:
    """`chances` fall along the grid: one minus them is the distribution of what such guests would pay."""
    best = max(CHOICES, key=lambda place: GRID[place] * chances[place])
    ratio, chance = GRID[best], chances[best]
    base = chances[GRID.index(1.0)]
    # Dearer than base, it earns less where the guest would have paid the base price and not this one; cheaper, where
    # the guest would have paid the base price at all.
    loses = max(0.0, base - chance) if ratio > 1 else base if ratio < 1 else 0.0
    return Price(
        price=round(ratio * room.base_price, 2),
        confidence=round(1 - loses, 4),
        expected=round(ratio * room.base_price * chance, 2),
        low=round(room.base_price * _quantile(chances, 0.9), 2),
        high=round(room.base_price * _quantile(chances, 0.1), 2),
    )


def _quantile(chances: Sequence[float], share: float) -> float:
    """The greatest ratio of the grid that at least this share of guests would pay."""
    return max((ratio for ratio, chance in zip(GRID, chances, strict=True) if chance >= share), default=GRID[0])


ROLLOUT = Flag(
    key="ai-prices",
    variants={"on": True, "off": False},
    default="off",
    off="off",
    rules=(
        # Contracts with fixed prices: never.
        Rule(when=(Condition(attribute="channel", op="equals", value="agency"),), serve="off"),
        # The hotel's own staff try it first.
        Rule(when=(Condition(attribute="channel", op="equals", value="staff"),), serve="on"),
    ),
    # Of all others every second guest, always the same ones.
    split={"on": 50, "off": 50},
)

sidecar = app.sidecar(
    "room-price",
    price,
    value="price",
    confidence="confidence",
    flag=ROLLOUT,
    guard=GuardBand(min_confidence=0.8, max_deviation=0.15),
    limit=0.1,
)
