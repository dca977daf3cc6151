"""Card payments: a generated stream, or the transactions of a fraud file, as one table for the feature store.

The generated stream follows a causal model. Each card has habits: how many payments a day, the hours of its owner's
waking, a usual amount, favourite categories and merchants. Now and then a card is compromised:

    habits ---------> ordinary payments ----------------------------+
                                                                    +--> stream --> label, once it is known
    compromise (hazard) --> burst of payments by the thief ---------+
         |                        |                                            ^
         +-- length 1 to 6 hours  +-- amounts, hours, merchants of his own     |
                                                      the owner notices (95 %), days later

A thief pays 3 to 8 times within the burst, mostly online, at merchants the card has never seen, at any hour, and for
one to five times the card's usual amount: no single payment gives him away, the burst does. A payment is known to the
store seconds after it was made; one terminal in fifty is offline and tells hours later. A disputed payment becomes
known as fraud 1 to 30 days later; undisputed ones count as honest after 30 days.

Amounts, rates and hazards are chosen, not estimated. A figure measured on this stream says nothing of a real bank.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from stanchion.core.errors import InvalidInput

if TYPE_CHECKING:
    import pandas

CARDS = 500
DAYS = 60
COMPROMISED = 0.35  # of the cards, at some moment of the stream
NOTICED = 0.95
OFFLINE = 0.02
LABEL_DAYS = 30

CATEGORIES = (
    "entertainment",
    "food_dining",
    "gas_transport",
    "grocery_net",
    "grocery_pos",
    "health_fitness",
    "home",
    "kids_pets",
    "misc_net",
    "misc_pos",
    "personal_care",
    "shopping_net",
    "shopping_pos",
    "travel",
)
ONLINE = ("grocery_net", "misc_net", "shopping_net", "travel")
_COLUMNS = ("payment_id", "card_id", "amount", "category", "merchant", "at", "known_at", "fraud", "label_at")


def table(source: Path | None, folder: Path, *, now: datetime | None = None) -> Path:
    """The Parquet file of the payments, made once: of `source`, or of a stream generated up to `now`.

    The file is named by what it was made from, so another source never answers from an old file.
    """
    name = "generated" if source is None else hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    place = folder / f"payments-{name}.parquet"
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        frame = generated(7, now or datetime.now(UTC)) if source is None else read_file(source)
        made = place.with_suffix(".part")
        frame.to_parquet(made, index=False)
        made.replace(place)
    return place


def generated(seed: int, end: datetime) -> pandas.DataFrame:
    """The stream up to `end`, in the order of the payments; `fraud` is null while a label is not yet known."""
    import pandas

    draw = numpy.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for card in range(CARDS):
        rows += _card(draw, f"card-{card:05}")
    frame = pandas.DataFrame(rows)
    start = pandas.Timestamp(end).floor("s") - pandas.Timedelta(days=DAYS)
    return _finished(frame, start, end, draw)


def _card(draw: numpy.random.Generator, card: str) -> list[dict[str, Any]]:
    """One card's payments; moments in seconds since the start."""
    usual = float(draw.lognormal(3.2, 0.5))
    waking = float(draw.uniform(6, 10))
    favourites = draw.dirichlet(numpy.full(len(CATEGORIES), 0.5))
    merchants = draw.integers(0, 900, size=12)
    rows = []
    for day in range(DAYS):
        for _ in range(draw.poisson(draw.gamma(2.0, 0.5))):
            hour = waking + 15 * float(draw.beta(2, 2))
            category = CATEGORIES[draw.choice(len(CATEGORIES), p=favourites)]
            amount = usual * float(draw.lognormal(0, 0.6))
            # One payment in six goes to a merchant that is new to the card.
            merchant = int(draw.choice(merchants)) if draw.random() > 1 / 6 else int(draw.integers(0, 900))
            rows.append(_payment(card, (day * 24 + hour) * 3600, amount, category, merchant, fraud=False))
    if draw.random() < COMPROMISED:
        rows += _burst(draw, card, usual)
    return rows


def _burst(draw: numpy.random.Generator, card: str, usual: float) -> list[dict[str, Any]]:
    begins, length = float(draw.uniform(0, DAYS * 86_400)), float(draw.uniform(1, 6)) * 3600
    moments = numpy.sort(draw.uniform(begins, begins + length, size=int(draw.integers(3, 9))))
    rows = []
    for moment in moments:
        online = draw.random() < 0.75
        category = str(draw.choice(ONLINE if online else CATEGORIES))
        amount = usual * float(draw.uniform(1, 5))
        rows.append(_payment(card, float(moment), amount, category, int(draw.integers(0, 1200)), fraud=True))
    return rows


def _payment(card: str, second: float, amount: float, category: str, merchant: int, *, fraud: bool) -> dict[str, Any]:
    amount = round(max(amount, 0.5), 2)
    return {
        "card_id": card,
        "amount": amount,
        "category": category,
        "merchant": f"m{merchant:04}",
        "second": second,
        "fraud": fraud,
    }


def _finished(
    frame: pandas.DataFrame, start: pandas.Timestamp, end: datetime, draw: numpy.random.Generator
) -> pandas.DataFrame:
    import pandas

    frame = frame.sort_values("second", ignore_index=True)
    count = len(frame)
    frame["payment_id"] = [f"p{number:07}" for number in range(count)]
    frame["at"] = start + pandas.to_timedelta((frame["second"] * 1e6).astype("int64"), unit="us")
    # A payment is never known at the very moment it was made: what is judged is not among what it is judged by.
    late = numpy.where(draw.random(count) < OFFLINE, draw.uniform(600, 10_800, count), draw.uniform(1, 5, count))
    frame["known_at"] = frame["at"] + pandas.to_timedelta((late * 1e6).astype("int64"), unit="us")
    noticed = frame["fraud"].to_numpy() & (draw.random(count) < NOTICED)
    days = numpy.where(noticed, numpy.minimum(1 + draw.exponential(6, count), LABEL_DAYS), LABEL_DAYS)
    frame["label_at"] = frame["at"] + pandas.to_timedelta((days * 86_400e6).astype("int64"), unit="us")
    label = pandas.Series(noticed, dtype="boolean")
    frame["fraud"] = label.mask(frame["label_at"] > pandas.Timestamp(end))
    kept = frame[frame["known_at"] <= pandas.Timestamp(end)]
    return kept[list(_COLUMNS)].reset_index(drop=True)


def ripe(rows: pandas.DataFrame) -> pandas.DataFrame:
    """The rows to learn from: those old enough that every label of their time is known.

    A fraud is disputed within days, and honesty is certain only after a month: of the newest month the frauds alone
    have a label, and a model that learnt from them would take every new payment for one.
    """
    import pandas

    wait = (rows["label_at"] - rows["at"]).max()
    end = rows["known_at"].max() - (wait if wait > pandas.Timedelta(0) else pandas.Timedelta(0))
    return rows[rows["fraud"].notna() & (rows["at"] <= end)].reset_index(drop=True)


def read_file(path: Path) -> pandas.DataFrame:
    """The transactions of a file with the columns of Amazon's fraud detector samples.

    The file does not say when a payment became known: one second later, for all. Raises InvalidInput.
    """
    import pandas

    names = {
        "EVENT_ID": "payment_id",
        "ENTITY_ID": "card_id",
        "order_price": "amount",
        "product_category": "category",
        "merchant": "merchant",
        "EVENT_TIMESTAMP": "at",
        "LABEL_TIMESTAMP": "label_at",
        "EVENT_LABEL": "fraud",
    }
    try:
        given = pandas.read_csv(path)
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path.name} is no CSV file: {error}") from error
    if missing := sorted(set(names) - set(given.columns)):
        raise InvalidInput(f"{path.name} has no column {', '.join(missing)}")
    frame = given[list(names)].rename(columns=names)
    for column in ("at", "label_at"):
        frame[column] = pandas.to_datetime(frame[column], utc=True).dt.as_unit("us")
    frame["known_at"] = frame["at"] + timedelta(seconds=1)
    frame["fraud"] = frame["fraud"].astype("boolean")
    frame["payment_id"] = frame["payment_id"].astype(str)
    return frame.sort_values(["at", "payment_id"], ignore_index=True)[list(_COLUMNS)]
