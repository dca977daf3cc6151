"""Offers of a hotel and what became of them: a generated history of a price experiment.

The offers follow a causal model. Each arrow is a line of `_situations` or `_worth`:

    month, weekday ---> season ---> demand (searches) ---> worth of the night to the guest <--- taste (never seen)
                          |                                   ^              |
                          `------> rooms left ----------------'              v
                                                   price shown ------> booked = worth >= price

Demand is high in summer and on weekends, and rooms are fewer where demand has been high. A guest books if the night
is worth the price to him; the worth is log-normal, its median rises with demand and with scarcity, and its spread is
wider far ahead of the night and out of season, when guests differ most.

**The prices of this history were drawn by lot**, from 0.6 to 1.6 times the base price, whatever the demand. That is
what makes the model below causal: in ordinary records a price is high because the demand was, and a model that learns
from those learns that high prices sell well. A hotel that wants this has to run such an experiment for some weeks.

Coefficients are chosen, not estimated. A figure measured here says nothing of a real hotel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy

from stanchion import Dataset

if TYPE_CHECKING:
    import pandas

OFFERS = 30_000
LOWEST, HIGHEST = 0.6, 1.6
ROOMS = 60


def situations(draw: numpy.random.Generator, count: int) -> pandas.DataFrame:
    """Nights as they stand when a guest asks: everything the model may see but the price."""
    import pandas

    month = draw.integers(1, 13, count)
    weekend = draw.random(count) < 2 / 7
    days_ahead = numpy.minimum(draw.exponential(25, count).astype(int), 180)
    season = numpy.sin((month - 4) / 12 * 2 * numpy.pi) + 0.6 * weekend
    searches = draw.poisson(numpy.exp(2.6 + 0.55 * season + draw.normal(0, 0.25, count)))
    filled = 1 / (1 + numpy.exp(-(0.9 * season + 0.03 * (searches - 14) - days_ahead / 30)))
    rooms_left = 1 + draw.binomial(ROOMS - 1, 1 - filled)
    return pandas.DataFrame(
        {
            "month": month,
            "weekend": weekend,
            "days_ahead": days_ahead,
            "searches": searches,
            "rooms_left": rooms_left,
        }
    )


def worth(draw: numpy.random.Generator, nights: pandas.DataFrame) -> Any:
    """What each night is worth to the guest who asks, as a share of the base price. No model sees it."""
    season = numpy.sin((nights["month"] - 4) / 12 * 2 * numpy.pi) + 0.6 * nights["weekend"]
    scarcity = 1 - nights["rooms_left"] / ROOMS
    middle = 0.02 + 0.16 * season + 0.012 * (nights["searches"] - 14) + 0.28 * (scarcity - 0.5)
    spread = 0.10 + 0.10 * (season < 0) + 0.0012 * nights["days_ahead"]
    return numpy.exp(middle + spread * draw.normal(size=len(nights)))


def experiment(seed: int, offers: int = OFFERS) -> Dataset:
    """Offers at prices drawn by lot, and whether each was booked; the same seed gives the same offers."""
    draw = numpy.random.default_rng(seed)
    nights = situations(draw, offers)
    ratio = numpy.exp(draw.uniform(numpy.log(LOWEST), numpy.log(HIGHEST), offers)).round(3)
    booked = worth(draw, nights) >= ratio
    rows = nights.assign(price_ratio=ratio)
    return Dataset(rows, booked.to_numpy(dtype=int), f"a generated price experiment (nights.py, seed {seed})")
