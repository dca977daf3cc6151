"""A shop's orders, generated: the same for the same day, with the faults that real extracts have.

Each customer has a habit (how often, how much, since when). A few rows are broken on purpose: amounts below zero, a
currency nobody uses, an order from the future, a customer without an id.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta

CUSTOMERS = 800
DAYS = 90
BROKEN = 0.01


@dataclass(frozen=True, slots=True)
class Order:
    """One order as the shop's database has it."""

    order_id: str
    customer_id: str
    day: date
    amount: float
    currency: str


def orders(day: date) -> list[Order]:
    """What was ordered in the ninety days before a day."""
    found = []
    for number in range(CUSTOMERS):
        chance = random.Random(number)
        gap = chance.choice((4, 12, 30, 60))
        basket = chance.lognormvariate(3.4, 0.6)
        last = day - timedelta(days=int(chance.expovariate(1 / gap)))
        while last > day - timedelta(days=DAYS):
            amount = round(basket * chance.uniform(0.5, 1.6), 2)
            found.append(Order(f"{number:04d}-{last:%y%m%d}", f"c{number:04d}", last, amount, "EUR"))
            last -= timedelta(days=1 + int(chance.expovariate(1 / gap)))
    chance = random.Random(day.toordinal())
    return [_broken(order, day, chance) if chance.random() < BROKEN else order for order in found]


def _broken(order: Order, day: date, chance: random.Random) -> Order:
    """An order with one fault."""
    fault = chance.randrange(4)
    return Order(
        order.order_id,
        "" if fault == 0 else order.customer_id,
        day + timedelta(days=400) if fault == 1 else order.day,
        -order.amount if fault == 2 else order.amount,
        "XXX" if fault == 3 else order.currency,
    )
