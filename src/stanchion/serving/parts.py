"""What the front desk of serving is put together from, where a part stands on several others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ..core.clock import Clock
from ..core.errors import Misconfigured
from ..core.resilience import BreakerView
from ..core.storage import Database
from ..core.telemetry.metrics import Metrics
from ..features import Features
from ..registry import Registry
from .caching.answers import ResponseCache
from .caching.following import FeatureFollower
from .contract import Predictions, ServedSpec
from .contract.graphs import check_circles, members_of
from .drill.faults import Faults
from .journal.fed import fed_back
from .journal.journal import Journal
from .kept import KeptAnswers
from .loaded import Engine
from .memory import Watchers
from .people import People
from .pool import Pool
from .releases import ReleaseLimits, Releases
from .rollout.board import Board
from .shelf import Shelf
from .sources import Sources

# The fields that every answer over HTTP has beside those of the model's own output.
RESERVED = frozenset(
    {
        "request_id",
        "trace_id",
        "model_id",
        "model_version",
        "served_by",
        "latency_ms",
        "predictions",
        "arm",
        "timing_ms",
        "review",
        "review_item",
        "overruled_by",
        "age_seconds",
    }
)


@dataclass(frozen=True, slots=True)
class Planned:
    """What rollouts and drills stand on."""

    registry: Registry
    shelf: Shelf
    board: Board
    faults: Faults
    ask: Callable[..., Awaitable[Predictions]]
    clock: Clock
    tenant: str
    metrics: Metrics

    def releases(
        self,
        database: Database,
        specs: Sequence[ServedSpec],
        development: bool,
        limits: ReleaseLimits | None,
        kept: Journal | None,
    ) -> Releases:
        """Rollouts and drills that are kept in the database."""
        return Releases(
            database=database,
            registry=self.registry,
            holder=self.shelf,
            board=self.board,
            faults=self.faults,
            ask=self.ask,
            clock=self.clock,
            development=development,
            limits=limits or ReleaseLimits(),
            tenant=self.tenant,
            metrics=self.metrics,
            plans={spec.name: spec.options.rollout for spec in specs if spec.options.rollout is not None},
            outcomes=None if kept is None else fed_back(kept),
        )


def engine_of(clock: Clock, pool: Pool, metrics: Metrics, faults: Faults, sources: Sources) -> Engine:
    """What every loaded version shares, with its figures going to the metrics."""

    def show(view: BreakerView) -> None:
        metrics.breakers.set(view.share / 100, view.name)

    return Engine(
        clock,
        pool,
        inline_seconds=0.001,
        slow_timeout=5.0,
        on_breaker=show,
        on_served=metrics.rungs.inc,
        faults=faults,
        kept=KeptAnswers(clock),
        sources=sources,
        on_cache=metrics.cache.inc,
    )


def watchers_of(metrics: Metrics) -> Watchers:
    """What tells the metrics of models that come into memory and leave it."""
    loads = metrics.histogram("stanchion_model_load_seconds", "Time to bring a model into memory", ("model",))
    held = metrics.gauge("stanchion_model_bytes", "Memory that the graphs of a model were measured to take", ("model",))
    unloads = metrics.counter("stanchion_model_unloads_total", "Models taken out of memory", ("model", "reason"))
    return Watchers(
        on_load=lambda model, seconds: loads.observe(seconds, model),
        on_bytes=lambda model, size: held.set(size, model),
        on_unload=lambda model, reason: unloads.inc(model, reason),
    )


def follower_of(specs: Sequence[ServedSpec], features: Features | None, shelf: Shelf) -> FeatureFollower | None:
    """What empties caches over features, where a model declares both."""
    if features is None or not any(spec.options.cache and spec.options.features for spec in specs):
        return None

    def caches() -> list[ResponseCache]:
        declared = [loaded.declared for loaded, _ in shelf.held(shelf.owner) if loaded.declared is not None]
        return [each.cache for each in declared if each.cache is not None and each.enricher is not None]

    return FeatureFollower(features, shelf.owner, caches)


def check(specs: Sequence[ServedSpec], people: People | None) -> None:
    """Raise Misconfigured if the declared models cannot stand beside each other, or lack what they ask for."""
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        raise Misconfigured(f"a served model is declared twice: {', '.join(sorted(names))}")
    for spec in specs:
        if people is None and spec.options.asks_people:
            raise Misconfigured(
                f"{spec.name} asks people, but this system has no reviews",
                next_step="Enable the module `review`, or say where it is in [place.review].",
            )
        taken = RESERVED & set(spec.output.model_fields)
        if taken:
            raise Misconfigured(f"the output of {spec.name} has the field {min(taken)}, which every answer has already")
    check_circles({spec.name: members_of(spec.source) for spec in specs})
