"""The tables of the journal.

Score and predicted label stand in the open, as quality is computed from them; what went in and the answer are sealed.
"""

from __future__ import annotations

import sqlalchemy as sa

from ..tables import metadata, name


def _number() -> sa.Column[int]:
    # Only INTEGER makes SQLite's row number the key itself.
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


predictions = sa.Table(
    "serving_predictions",
    metadata,
    _number(),
    name("tenant"),
    name("request_id"),
    sa.Column("instance", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    name("model"),
    name("version"),
    name("arm"),
    name("rung"),
    sa.Column("shadow", sa.Boolean, nullable=False),
    sa.Column("score", sa.Float(53)),
    sa.Column("predicted", sa.String),
    sa.Column("overruled_by", sa.String, nullable=False),
    sa.Column("review", sa.String, nullable=False),
    sa.Column("blob", sa.LargeBinary, nullable=False),
    sa.Index("serving_prediction_request", "tenant", "request_id"),
    sa.Index("serving_prediction_model", "tenant", "model", "at"),
)

# One row for each truth of each version that predicted it: `metric` is empty for a label.
truths = sa.Table(
    "serving_truths",
    metadata,
    _number(),
    name("tenant"),
    name("request_id"),
    sa.Column("instance", sa.Integer, nullable=False),
    name("version"),
    name("arm"),
    name("metric"),
    name("model"),
    sa.Column("predicted_at", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("score", sa.Float(53)),
    sa.Column("predicted", sa.String),
    sa.Column("number", sa.Float(53)),
    sa.Column("label", sa.String),
    sa.Index("serving_truth_of", "tenant", "request_id", "instance", "version", "arm", "metric", unique=True),
    sa.Index("serving_truth_model", "tenant", "model", "at"),
)
