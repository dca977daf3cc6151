"""Incidents in the house's own database: opened, counted and told in the transaction of the alert's handling."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, desc, insert, select, update

from stanchion import Context
from stanchion.events import Event, stage

if TYPE_CHECKING:
    from sqlalchemy import Connection

QUIET = {
    "temperature": timedelta(hours=12),
    "guessing": timedelta(minutes=30),
    "two_places": timedelta(hours=2),
    "spraying": timedelta(minutes=30),
}
"""After so long without an alert the next one is another incident."""

_metadata = MetaData()
_incidents = Table(
    "watch_incidents",
    _metadata,
    Column("tenant", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("about", String, primary_key=True),
    Column("began", DateTime(timezone=True), primary_key=True),
    Column("latest", DateTime(timezone=True), nullable=False),
    Column("alerts", Integer, nullable=False),
)


def note(connection: Connection, ctx: Context, alert: Any, news: Event, quiet: timedelta) -> None:
    """Count the alert in the incident that is open for it; where none is, open one and tell of it."""
    _metadata.create_all(connection, checkfirst=True)
    mine = (
        (_incidents.c.tenant == ctx.tenant)
        & (_incidents.c.kind == alert.kind)
        & (_incidents.c.about == alert.about)
        & (_incidents.c.latest >= alert.at - quiet)
    )
    found = connection.execute(select(_incidents).where(mine).order_by(desc(_incidents.c.began)).limit(1)).first()
    if found is None:
        row = {"tenant": ctx.tenant, "kind": alert.kind, "about": alert.about, "began": alert.at}
        connection.execute(insert(_incidents).values(**row, latest=alert.at, alerts=1))
        stage(connection, ctx, [news])
        return
    counted = update(_incidents).where(mine, _incidents.c.began == found.began)
    connection.execute(counted.values(alerts=found.alerts + 1, latest=alert.at))
