"""A feature store for the console's tests: views in every state, and one service over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stanchion.core.context import Context
from stanchion.features import (
    Features,
    FieldHealth,
    FieldSkew,
    Lineage,
    Node,
    Service,
    SkewExample,
    SkewReport,
    View,
    ViewHealth,
)

NOW = datetime(2026, 11, 20, 15, 30, 12, tzinfo=UTC)
SERVICE = "churn-features"
VIEWS = {"profile": "fresh", "spending": "late", "devices": "missing", "clicks": "stale", "calls": "empty"}


@dataclass
class FakeFeatures(Features):
    """`views` by name with their states; one service over all of them, named like the first view's entity."""

    names: dict[str, str]
    different: int = 2

    def _fields(self, view: str) -> list[str]:
        return [f"{view[:30]}_{field}" for field in ("count_1h", "sum_24h", "newest")]

    async def views(self, ctx: Context) -> Sequence[View]:
        return [
            View(name, "customer", 86_400, dict.fromkeys(self._fields(name), "number|null"), "payments")
            for name in self.names
        ]

    async def health(self, ctx: Context) -> Sequence[ViewHealth]:
        return [
            ViewHealth(
                name,
                state,  # type: ignore[arg-type]  # one of the states
                f"the newest event is 0:0{index % 6}:00 old",
                None if state == "empty" else NOW - timedelta(minutes=index),
                None if state == "empty" else index * 60.0,
                86_400,
                0 if state == "empty" else 48_000 + index,
                None if state == "empty" else 0.0125,
                None if state == "empty" else 0.25 if state == "missing" else 0.003,
                [
                    FieldHealth(feature, "number|null", (0.0, 0.031, 0.62)[i], ("ok", "ok", "nulls")[i], "62% are null")
                    for i, feature in enumerate(self._fields(name))
                ],
            )
            for index, (name, state) in enumerate(self.names.items())
        ]

    async def services(self, ctx: Context) -> Sequence[Service]:
        if not self.names:
            return ()
        fields = {feature: name for name in self.names for feature in self._fields(name)}
        kinds = dict.fromkeys([*fields, "ratio"], "number")
        made = Service(
            SERVICE,
            "9c1f22ab03de4471",
            tuple(self.names),
            ("ratios",),
            ("customer",),
            ("amount",),
            kinds,
            {**fields, "ratio": "ratios"},
            {"ratios": tuple(self.names)},
        )
        return [made]

    async def lineage(self, ctx: Context, service: str) -> Lineage:
        nodes = [Node("source:payments", "source", "payments", "parquet: payments/*.parquet")]
        nodes += [Node(f"service:{SERVICE}", "service", SERVICE), Node("transform:ratios", "transform", "ratios")]
        nodes += [Node("request:amount", "request", "amount"), Node("field:ratios.ratio", "field", "ratios.ratio")]
        edges = [("request:amount", "transform:ratios"), ("transform:ratios", "field:ratios.ratio")]
        edges += [("field:ratios.ratio", f"service:{SERVICE}")]
        for name in self.names:
            for feature in self._fields(name):
                column, place = f"column:payments.{feature[-6:]}", f"field:{name}.{feature}"
                nodes += (
                    [Node(column, "column", f"payments.{feature[-6:]}")] if column not in {n.id for n in nodes} else []
                )
                nodes.append(Node(place, "field", f"{name}.{feature}", "sum(amount) over the last 1 days"))
                edges += [("source:payments", column), (column, place), (place, f"service:{SERVICE}")]
            edges.append((place, "transform:ratios"))
        return Lineage(SERVICE, "9c1f22ab03de4471", nodes, list(dict.fromkeys(edges)))

    async def skew(self, ctx: Context, service: str, *, limit: int = 1_000) -> SkewReport:
        example = SkewExample("a1b2c3d4e5f60718293a4b5c", NOW, 3, 4)
        fields = [FieldSkew("ratio", 1000, self.different, [example] if self.different else [])]
        return SkewReport(SERVICE, "9c1f22ab03de4471", 1000, self.different, 3, NOW, NOW, fields)
