"""The hotel's own booking service, which is not Stanchion's: it asks for a price, and always has one.

    STANCHION_URL=http://127.0.0.1:8080 STANCHION_KEY=$(cat .stanchion/dev.key) \
        uvicorn --app-dir examples/dynamic_pricing shop:app --port 9000

It needs no model, no engine and no Stanchion server to answer: without one, every price is the base price.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from stanchion.serving import GuardBand, SidecarClient

# The list prices of the house: what was asked before there was a model.
LIST = {"single": 90.0, "double": 120.0, "suite": 260.0}


class Wish(BaseModel):
    """A guest asks for a room."""

    customer_id: str = Field(min_length=1, max_length=64)
    channel: str = "web"
    room: str = Field(pattern="^(single|double|suite)$")
    night: date
    searches: int = Field(ge=0)
    rooms_left: int = Field(ge=1, le=60)


class Quote(BaseModel):
    """A price for the guest; `source` and `reason` are for the books of the house."""

    price: float
    source: str
    reason: str
    request_id: str


class Booked(BaseModel):
    """What the guest did with a quote."""

    request_id: str
    revenue: float = Field(ge=0, description="0 if he did not book.")


def base_price(room: str, night: date) -> float:
    """What the house asks by its own rule: list price, a tenth more on weekends."""
    return round(LIST[room] * (1.1 if night.weekday() in (4, 5) else 1.0), 2)


def create(url: str, key: str, *, limit: float = 0.25, today: date | None = None) -> FastAPI:
    """The service. `today` is for tests."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # The band stands here as well: the bounds of our prices are our own affair.
        guard = GuardBand(max_deviation=0.15)
        async with SidecarClient(url, "room-price", key=key, limit=limit, guard=guard) as client:
            app.state.prices = client
            yield

    app = FastAPI(title="A hotel", lifespan=lifespan)

    @app.post("/quotes")
    async def quote(wish: Wish, request: Request) -> Quote:
        """A price for a room and a night."""
        prices: SidecarClient = request.app.state.prices
        own = base_price(wish.room, wish.night)
        features: dict[str, Any] = {
            "room_id": wish.room,
            "base_price": own,
            "month": wish.night.month,
            "weekend": wish.night.weekday() in (4, 5),
            "days_ahead": max(0, (wish.night - (today or date.today())).days),
            "searches": wish.searches,
            "rooms_left": wish.rooms_left,
        }
        advice = await prices.advise(features, own, unit=wish.customer_id, attributes={"channel": wish.channel})
        return Quote(
            price=float(str(advice.value)), source=advice.source, reason=advice.reason, request_id=advice.request_id
        )

    @app.post("/bookings")
    async def booked(booking: Booked, request: Request) -> dict[str, bool]:
        """Tell what became of a quote, so that both prices can be compared later."""
        prices: SidecarClient = request.app.state.prices
        return {"noted": await prices.settle(booking.request_id, booking.revenue)}

    return app


app = create(os.environ.get("STANCHION_URL", "http://127.0.0.1:8080"), os.environ.get("STANCHION_KEY", ""))
