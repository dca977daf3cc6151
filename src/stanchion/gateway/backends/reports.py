"""Reports of cascades in the database: the newest twenty of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, func, select

from ...core.clock import Clock, micros, moment
from ...core.context import Context
from ...core.storage import Database
from ...core.storage.schema import Schema
from ..contract.cascade import CascadeReport, KeptReport
from ..ports import ReportStore

if TYPE_CHECKING:
    from sqlalchemy import Connection

_KEPT = 20
_metadata = MetaData()
reports = Table(
    "gateway_cascade_reports",
    _metadata,
    Column("tenant", Text, primary_key=True),
    Column("cascade", Text, primary_key=True),
    Column("made_at", BigInteger, primary_key=True),
    Column("made_by", Text, nullable=False),
    Column("report", Text, nullable=False),
)
SCHEMA = Schema("gateway_reports", _metadata)


class SqlReports(ReportStore):
    """The table of reports."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def keep(self, ctx: Context, cascade: str, report: CascadeReport) -> None:
        row = {
            "tenant": ctx.tenant,
            "cascade": cascade,
            "made_at": micros(self._clock.now()),
            "made_by": ctx.principal,
            "report": msgspec.json.encode(report).decode(),
        }
        table = reports.c
        own = (table.tenant == ctx.tenant) & (table.cascade == cascade)
        oldest = select(table.made_at).where(own).order_by(table.made_at.desc()).offset(_KEPT - 1).limit(1)

        def work(connection: Connection) -> None:
            last = connection.execute(oldest).scalar()
            if last is not None:
                connection.execute(reports.delete().where(own, table.made_at <= last))
            connection.execute(reports.insert().values(row))

        await self._database.write(ctx, work)

    async def newest(self, ctx: Context) -> Sequence[KeptReport]:
        table = reports.c
        last = (
            select(table.cascade, func.max(table.made_at).label("made_at"))
            .where(table.tenant == ctx.tenant)
            .group_by(table.cascade)
            .subquery()
        )
        query = (
            select(table.cascade, table.made_at, table.made_by, table.report)
            .join(last, (table.cascade == last.c.cascade) & (table.made_at == last.c.made_at))
            .where(table.tenant == ctx.tenant)
            .order_by(table.cascade)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [
            KeptReport(cascade, moment(at), by, msgspec.json.decode(text, type=CascadeReport))
            for cascade, at, by, text in rows
        ]
