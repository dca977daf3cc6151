"""Customers of a telephone and internet company: a generated population, or the IBM Telco file.

The generated population follows a causal model. Each arrow is a line of `_joined` or `_leaving`:

    age group ---> household        contract <--- appetite for commitment
        |              |               |
        v              |               v
    internet service   |          hazard of leaving <--- satisfaction <--- quality, price, support
        |              |               ^                                       ^
        v              +---------------+                                       |
    add-ons ---> monthly charges ----------------------------------------------+

A customer joined 1 to 72 months ago and leaves in month k with a hazard that falls as 1 / (1 + k / 12): the unhappy
leave first. Only those still there are seen, with their tenure, and whether they leave within the next twelve months.
So tenure is an effect of the very hazard that is to be predicted, as it is in real data. Quality, satisfaction and the
appetite for commitment are never seen by the model: they bound how well anything can rank these customers.

Coefficients are chosen, not estimated, so that prices, the churn rate (between a quarter and a third) and the
attainable ranking come near those of the IBM file. A figure measured on generated customers says nothing of a real
company.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from stanchion import Dataset
from stanchion.core.errors import FieldProblem, InvalidInput

if TYPE_CHECKING:
    import pandas

CUSTOMERS = 8_000
WINDOW_MONTHS = 12
LONGEST_MONTHS = 72

PRICES = {
    "phone_service": 20.0,
    "multiple_lines": 5.0,
    "online_security": 5.0,
    "online_backup": 5.0,
    "device_protection": 5.0,
    "tech_support": 5.0,
    "streaming_tv": 10.0,
    "streaming_movies": 10.0,
}
INTERNET_PRICES = {"none": 0.0, "dsl": 25.0, "fiber_optic": 50.0}

# Column of the IBM file -> our field, and its words -> ours.
IBM_FLAGS = {
    "Partner": "partner",
    "Dependents": "dependents",
    "PhoneService": "phone_service",
    "MultipleLines": "multiple_lines",
    "OnlineSecurity": "online_security",
    "OnlineBackup": "online_backup",
    "DeviceProtection": "device_protection",
    "TechSupport": "tech_support",
    "StreamingTV": "streaming_tv",
    "StreamingMovies": "streaming_movies",
    "PaperlessBilling": "paperless_billing",
}
IBM_WORDS = {
    "gender": ("gender", {"Female": "female", "Male": "male"}),
    "Contract": (
        "contract",
        {"Month-to-month": "month_to_month", "One year": "one_year", "Two year": "two_year"},
    ),
    "InternetService": ("internet_service", {"No": "none", "DSL": "dsl", "Fiber optic": "fiber_optic"}),
    "PaymentMethod": (
        "payment_method",
        {
            "Electronic check": "electronic_check",
            "Mailed check": "mailed_check",
            "Bank transfer (automatic)": "bank_transfer",
            "Credit card (automatic)": "credit_card",
        },
    ),
}
IBM_YES = {"Yes": True, "No": False, "No internet service": False, "No phone service": False}
IBM_NUMBERS = {"tenure": "tenure_months", "MonthlyCharges": "monthly_charges", "SeniorCitizen": "senior_citizen"}


def read_ibm(path: Path) -> Dataset:
    """The customers of `WA_Fn-UseC_-Telco-Customer-Churn.csv`, as IBM published it.

    "No internet service" and "No phone service" mean that an add-on is absent, as "No" does. TotalCharges is not
    read: it is blank for the eleven customers of tenure 0, and otherwise tenure times monthly charges within 1 %.
    Raises InvalidInput for a file that is no CSV, lacks a column, or holds a word that is not known.
    """
    # Only training needs pandas: a process that serves starts without it.
    import pandas

    try:
        table = pandas.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path.name} is not a CSV table: {error}") from error
    needed = [*IBM_NUMBERS, *IBM_WORDS, *IBM_FLAGS, "Churn"]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise InvalidInput(
            f"{path.name} lacks the columns {', '.join(missing)}",
            fields=[FieldProblem(f"$.{name}", "the column is missing") for name in missing],
            next_step="Give the IBM Telco Customer Churn CSV with its original header.",
        )
    columns: dict[str, Any] = {ours: _number(table[theirs]) for theirs, ours in IBM_NUMBERS.items()}
    for theirs, (ours, words) in IBM_WORDS.items():
        columns[ours] = _translated(table[theirs], words)
    for theirs, ours in IBM_FLAGS.items():
        columns[ours] = _translated(table[theirs], IBM_YES)
    churned = _translated(table["Churn"], {"Yes": 1, "No": 0})
    return Dataset(pandas.DataFrame(columns), churned.to_numpy(dtype=int), f"IBM Telco Customer Churn ({path.name})")


def _number(column: pandas.Series[Any]) -> pandas.Series[Any]:
    import pandas

    numbers = pandas.to_numeric(column, errors="coerce")
    if numbers.isna().any():
        raise InvalidInput(f"{column.name} holds {column[numbers.isna()].iloc[0]!r}, which is no number")
    return numbers


def _translated(column: pandas.Series[Any], words: Mapping[str, Any]) -> pandas.Series[Any]:
    strange = sorted(set(column) - set(words))
    if strange:
        raise InvalidInput(f"{column.name} holds {strange[0]!r}, which is none of {', '.join(words)}")
    return column.map(words)


def generated(seed: int, customers: int = CUSTOMERS) -> Dataset:
    """Customers of the causal model above; the same seed gives the same customers."""
    draw = numpy.random.default_rng(seed)
    # Half and more of those who ever joined have left: six draws for each customer are always enough.
    rows, hazard = _joined(draw, customers * 6)
    # The company grows: more joined lately than long ago.
    joined_ago = 1 + (LONGEST_MONTHS * draw.random(len(rows)) ** 1.25).astype(int)
    stayed = draw.random(len(rows)) < numpy.exp(-hazard * _exposure(0, joined_ago))
    seen = rows.assign(tenure_months=joined_ago)[stayed].head(customers).reset_index(drop=True)
    present, tenure = hazard[stayed][:customers], joined_ago[stayed][:customers]
    leaves = draw.random(len(seen)) < 1 - numpy.exp(-present * _exposure(tenure, tenure + WINDOW_MONTHS))
    return Dataset(seen, leaves.astype(int), f"a generated population (population.py, seed {seed})")


def _exposure(start: Any, end: Any) -> Any:
    """The integral of 1 / (1 + k / 12) over the months from start to end."""
    return 12 * (numpy.log1p(end / 12) - numpy.log1p(start / 12))


def _joined(draw: numpy.random.Generator, count: int) -> tuple[pandas.DataFrame, Any]:
    """Everybody who ever joined, and the hazard each had in the first month."""
    import pandas

    def chance(probability: Any) -> Any:
        return draw.random(count) < probability

    senior = chance(0.16)
    partner = chance(numpy.where(senior, 0.55, 0.47))
    dependents = chance(numpy.where(partner & ~senior, 0.52, 0.08))
    commitment = draw.normal(size=count)
    wish = draw.random(count)
    internet = numpy.select([wish < numpy.where(senior, 0.07, 0.16), wish < 0.43], ["none", "dsl"], "fiber_optic")
    online = internet != "none"
    phone = ~online | chance(numpy.where(internet == "fiber_optic", 1.0, 0.72))
    term = commitment + 0.3 * dependents + draw.normal(scale=0.6, size=count)
    contract = numpy.select([term > 1.75, term > 1.15], ["two_year", "one_year"], "month_to_month")
    careful = 0.15 * commitment
    rows = pandas.DataFrame(
        {
            "gender": numpy.where(chance(0.5), "female", "male"),
            "senior_citizen": senior,
            "partner": partner,
            "dependents": dependents,
            "contract": contract,
            "internet_service": internet,
            "phone_service": phone,
            "multiple_lines": phone & chance(0.47),
            "online_security": online & chance(numpy.clip(0.36 + careful, 0, 1)),
            "online_backup": online & chance(numpy.clip(0.44 + careful, 0, 1)),
            "device_protection": online & chance(numpy.clip(0.44 + careful, 0, 1)),
            "tech_support": online & chance(numpy.clip(0.37 + careful, 0, 1)),
            "streaming_tv": online & chance(0.49),
            "streaming_movies": online & chance(0.5),
            "paperless_billing": chance(numpy.where(online, 0.68, 0.29)),
            "payment_method": _payment(draw, internet),
        }
    )
    list_price = sum(rows[name] * price for name, price in PRICES.items()) + rows["internet_service"].map(
        INTERNET_PRICES
    )
    rows["monthly_charges"] = (list_price + draw.normal(scale=1.0, size=count)).clip(lower=18.0).round(2)
    return rows, _hazard(draw, rows, commitment)


def _payment(draw: numpy.random.Generator, internet: Any) -> Any:
    ways = ["electronic_check", "mailed_check", "bank_transfer", "credit_card"]
    shares = {
        "none": [0.08, 0.49, 0.22, 0.21],
        "dsl": [0.27, 0.27, 0.23, 0.23],
        "fiber_optic": [0.52, 0.05, 0.22, 0.21],
    }
    chosen = numpy.empty(len(internet), dtype=object)
    for service, weights in shares.items():
        here = internet == service
        chosen[here] = draw.choice(ways, size=int(here.sum()), p=weights)
    return chosen


def _hazard(draw: numpy.random.Generator, rows: pandas.DataFrame, commitment: Any) -> Any:
    count = len(rows)
    internet = rows["internet_service"]
    # The fast line breaks more often: quality is what makes it a worse deal, not its price alone.
    quality = numpy.select([internet == "fiber_optic", internet == "dsl"], [-0.9, 0.1], 0.6)
    quality = quality + draw.normal(scale=0.5, size=count)
    # Support matters where the line breaks, and a high bill only to those who are not used to it from streaming.
    helped = 0.5 * rows["tech_support"] + 0.4 * rows["online_security"] + 0.2 * rows["online_backup"]
    helped = helped * numpy.where(internet == "fiber_optic", 1.8, 0.3)
    streams = rows["streaming_tv"] | rows["streaming_movies"]
    dear = ((rows["monthly_charges"] - 55) / 30).clip(lower=0) * numpy.where(streams, 0.15, 0.7)
    satisfaction = quality + helped - dear
    switching = rows["contract"].map({"month_to_month": 0.0, "one_year": 1.7, "two_year": 3.0})
    household = 0.15 * rows["partner"] + 0.2 * rows["dependents"] - 0.15 * rows["senior_citizen"]
    paying = 0.4 * (rows["payment_method"] == "electronic_check") + 0.15 * rows["paperless_billing"]
    return numpy.exp(-1.8 - 0.8 * satisfaction - switching - household + paying - 0.2 * commitment).to_numpy()
