"""Which segment each customer is in, every night: extract, validate, features, batch inference, store, report.

    stanchion pipelines run examples/nightly_segments/system.py nightly_segments --inputs '{"day": "2026-03-01"}'

One command, no key, no network: the orders are generated. Kill it at any moment and call it again with `--key night`:
it goes on where it was.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pandera.pandas as pandera
from orders import Order, orders
from pydantic import BaseModel
from sqlalchemy import Connection, text

from stanchion import Context, System
from stanchion.core.context import Rights
from stanchion.pipelines import Check, Retry, Step, choose

REPORTS = Path(os.environ.get("SEGMENTS_REPORTS", "reports"))
AT_ONCE = 200

app = System("nightly-segments")


class Habit(BaseModel):
    """What a customer did in ninety days: days since the last order, orders, and their mean amount."""

    customer_id: str
    recency: int
    frequency: int
    mean_amount: float


class Segment(BaseModel):
    """The answer of the model."""

    segment: str
    score: float


@dataclass(frozen=True, slots=True)
class Night:
    """The night that a run is for."""

    day: date


@dataclass(frozen=True, slots=True)
class Placed:
    """A customer in a segment."""

    customer_id: str
    segment: str
    score: float


@dataclass(frozen=True, slots=True)
class Summary:
    """How many customers each segment has."""

    customers: int
    segments: dict[str, int]
    lost_share: float


# The model: a function here; a trained one is asked in the same way.


@app.model("segments")
def segments(items: Sequence[Habit]) -> list[Segment]:
    """Segments by recency, frequency and amount."""
    return [_segment(item) for item in items]


def _segment(habit: Habit) -> Segment:
    score = round(min(habit.frequency, 20) / 20 + min(habit.mean_amount, 100) / 100 - habit.recency / 90, 3)
    if habit.recency > 45:
        return Segment(segment="lost", score=score)
    return Segment(segment="loyal" if score > 0.6 else "regular" if score > 0.2 else "occasional", score=score)


# Extract and validate.

ORDERS = pandera.DataFrameSchema(
    {
        "customer_id": pandera.Column(str, pandera.Check.str_matches(r"^c\d{4}$")),
        "amount": pandera.Column(float, pandera.Check.in_range(0.01, 10_000)),
        "currency": pandera.Column(str, pandera.Check.isin(["EUR"])),
    }
)


@app.stage(retry=Retry(attempts=3, seconds=5), record="order_id")
def extract(day: date) -> list[Order]:
    """Orders of ninety days."""
    return orders(day)


@app.stage(check=Check(schema=ORDERS, most_bad=0.05), record="order_id")
def validate(found: list[Order], day: date, step: Step) -> list[Order]:
    """Orders that may be counted; the others are set aside with their reasons."""
    late = [order for order in found if order.day > day]
    for order in late:
        step.quarantine(order.order_id, "day: after the night of the run", order)
    return [order for order in found if order.day <= day]


# Features.


@app.stage(record="customer_id", cache=timedelta(days=7))
def habits(valid: list[Order], day: date) -> list[Habit]:
    """One row a customer."""
    by_customer: dict[str, list[Order]] = {}
    for order in valid:
        by_customer.setdefault(order.customer_id, []).append(order)
    return [
        Habit(
            customer_id=customer,
            recency=(day - max(order.day for order in own)).days,
            frequency=len(own),
            mean_amount=round(sum(order.amount for order in own) / len(own), 2),
        )
        for customer, own in sorted(by_customer.items())
    ]


@app.stage()
def parts(rows: list[Habit]) -> list[list[Habit]]:
    """Rows in parts of two hundred."""
    return [rows[at : at + AT_ONCE] for at in range(0, len(rows), AT_ONCE)]


# Batch inference: the served model, with the rights of who started the run.


@app.stage(retry=Retry(attempts=4, seconds=1), timeout=60, record="customer_id")
async def score(part: list[Habit], ctx: Context) -> list[Placed]:
    """The model's answers for one part."""
    answers = await segments.predict_many(ctx, part)
    return [
        Placed(habit.customer_id, answer.segment, answer.score) for habit, answer in zip(part, answers, strict=True)
    ]


@app.stage(record="customer_id")
def together(scored: list[list[Placed]]) -> list[Placed]:
    """All parts as one."""
    return [placed for part in scored for placed in part]


# Store and report.


@app.stage()
def store(sql: Connection, placed: list[Placed], day: date) -> int:
    """The night's segments in the house's database: written once, in the transaction that notes it."""
    sql.execute(
        text("CREATE TABLE IF NOT EXISTS customer_segments (day TEXT, customer_id TEXT, segment TEXT, score REAL)")
    )
    sql.execute(text("DELETE FROM customer_segments WHERE day = :day"), {"day": day.isoformat()})
    sql.execute(
        text("INSERT INTO customer_segments VALUES (:day, :customer, :segment, :score)"),
        [
            {"day": day.isoformat(), "customer": row.customer_id, "segment": row.segment, "score": row.score}
            for row in placed
        ],
    )
    return len(placed)


@app.stage()
def summarise(placed: list[Placed]) -> Summary:
    """Counts by segment."""
    counts = Counter(row.segment for row in placed)
    return Summary(len(placed), dict(sorted(counts.items())), round(counts["lost"] / max(1, len(placed)), 4))


@app.stage()
def unusual(summary: Summary) -> bool:
    """Whether somebody should look before anybody acts on it."""
    return summary.lost_share > 0.5


@app.stage()
def warning(summary: Summary) -> str:
    """What to look at."""
    return f"LOOK FIRST: {summary.lost_share:.0%} of the customers count as lost"


@app.stage()
def calm(summary: Summary) -> str:
    """That nothing is wrong."""
    return f"{summary.customers} customers, {summary.lost_share:.0%} of them lost: as usual"


@app.stage(effect=True)
def report(summary: Summary, word: str, stored: int, day: date) -> str:
    """A page for people; the same night writes the same file."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    file = REPORTS / f"segments-{day.isoformat()}.md"
    lines = [f"| {name} | {number} |" for name, number in summary.segments.items()]
    file.write_text(
        "\n".join(
            [
                f"# Segments of {day}",
                "",
                word,
                "",
                "| segment | customers |",
                "|---|---|",
                *lines,
                "",
                f"Stored: {stored}",
            ]
        )
    )
    return str(file)


@app.pipeline("nightly_segments", timeout=timedelta(hours=4))
def nightly_segments(night: Night) -> str:
    """Customers in segments, from the orders of ninety days."""
    valid = validate(extract(night.day), night.day)
    placed = together(score.map(parts(habits(valid, night.day)), parallel=4))
    summary = summarise(placed)
    word = choose(unusual(summary), lambda: warning(summary), lambda: calm(summary))
    return report(summary, word, store(placed, night.day), night.day)


def of(at: datetime) -> Night:
    """The night that a moment of the schedule is for."""
    return Night(at.date())


# The runs of a schedule have no rights but these.
nightly_segments.schedule(
    of, cron="30 2 * * *", zone="Europe/Berlin", rights=Rights(scopes=frozenset({"serving:predict"}))
)
