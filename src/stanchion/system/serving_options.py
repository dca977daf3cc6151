"""The options of `app.trained` and `app.model` that say how a model is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from pydantic import BaseModel

from ..core.errors import Misconfigured
from ..core.values import Json
from ..features import feature_fields
from ..serving import (
    Batch,
    Cache,
    Hedge,
    Keep,
    LastGood,
    Lookup,
    Missing,
    Options,
    Review,
    RolloutPlan,
)
from .features import FeatureService, FeatureView, OnDemand
from .handles import Bound
from .reviews import ReviewQueue


@dataclass(frozen=True, slots=True)
class Reads:
    """How a model reads a feature service, where the service alone does not say it.

    `entities` maps the service's entity keys to request fields; a key that is left out has the name of its field.
    The rest as in `stanchion.serving.Lookup`.
    """

    service: FeatureService
    entities: Mapping[str, str] = field(default_factory=dict)
    stale: Missing = "error"
    unknown: Missing = "error"
    defaults: Mapping[str, Json] = field(default_factory=dict)
    logged: float = 1.0
    timeout_ms: float = 200.0


class ServingOptions(TypedDict, total=False):
    """What may be declared of a model besides what answers; each part is described in `stanchion.serving`.

    `features` is a declared feature service, or `Reads` for one. `rules` are functions of the instance, the
    outcome and, if they take three, the looked-up features, that may give another outcome. `journal` keeps what was
    answered, so that feedback finds it. `hedges` are second attempts by rung, for `primary` and `simple`.
    `rollout` is a plan such as `canary()`, which begins when a newer version reaches staging. `human` is the review
    queue in which people are asked where nothing above the default answers.
    """

    features: FeatureService | Reads
    cache: Cache
    batch: Batch
    rules: Sequence[Callable[..., Any]]
    review: Review
    journal: Keep
    last_good: LastGood
    hedges: Mapping[str, Hedge]
    rollout: RolloutPlan
    human: ReviewQueue | str


def options_of(
    model: str, given: ServingOptions, taken: type[BaseModel], handles: Mapping[str, Bound], *, merged: bool
) -> Options:
    """The declared options as plain data.

    `merged` tells that the input type has the looked-up features among its fields, as a function's has; a trained
    model's type has the request's alone. Raises Misconfigured where the type lacks what an option names.
    """
    reads = given.get("features")
    lookup = None if reads is None else _lookup(model, _spelt_out(reads), taken, handles, merged=merged)
    options = Options(
        features=lookup,
        cache=given.get("cache"),
        batch=given.get("batch"),
        rules=tuple(given.get("rules", ())),
        review=given.get("review"),
        journal=given.get("journal"),
        last_good=given.get("last_good"),
        hedges=dict(given.get("hedges", {})),
        rollout=given.get("rollout"),
        human=_queue(model, given.get("human", ""), handles),
    )
    if options.review is not None and options.review.queue:
        _queue(model, options.review.queue, handles)
    looked_up = set() if lookup is None or not merged else set(lookup.fields)
    _check(model, options, set(taken.model_fields) - looked_up)
    return options


def _queue(model: str, queue: ReviewQueue | str, handles: Mapping[str, Bound]) -> str:
    """The name of a declared review queue; empty if none is asked for. Raises Misconfigured."""
    name = queue.spec.name if isinstance(queue, ReviewQueue) else queue
    if name and f"review:{name}" not in handles:
        raise Misconfigured(
            f"{model} asks people in the review queue {name!r}, which is not declared before it",
            next_step=f'Declare it with `app.review("{name}")`, above the model.',
        )
    return name


def _spelt_out(reads: FeatureService | Reads) -> Reads:
    return reads if isinstance(reads, Reads) else Reads(reads)


def _lookup(model: str, reads: Reads, taken: type[BaseModel], handles: Mapping[str, Bound], *, merged: bool) -> Lookup:
    spec = reads.service.spec
    views = [handle.spec for name in spec.views if isinstance(handle := handles.get(name), FeatureView)]
    transforms = [handle.spec for name in spec.on_demand if isinstance(handle := handles.get(name), OnDemand)]
    if len(views) < len(spec.views) or len(transforms) < len(spec.on_demand):
        raise Misconfigured(f"{model} reads the feature service {spec.name} of another system")
    entities = {view.entity: reads.entities.get(view.entity, view.entity) for view in views}
    fields = [name for view in views for name in feature_fields(view)]
    fields += [name for transform in transforms for name in transform.output.model_fields]
    request = [name for each in transforms if each.request is not None for name in each.request.model_fields]
    known = set(taken.model_fields) - (set(fields) if merged else set())
    lacking = sorted((set(entities.values()) | set(request)) - known)
    if lacking:
        raise Misconfigured(
            f"the input of {model} has no field {', '.join(lacking)}, which the feature service {spec.name} needs",
            next_step="Add the field, or map the entity with Reads(service, entities={...}).",
        )
    if strange := sorted(set(reads.defaults) - set(fields)):
        raise Misconfigured(f"{model} declares defaults of {', '.join(strange)}, which {spec.name} does not give")
    return Lookup(
        service=spec.name,
        entities=entities,
        fields=tuple(name for name in fields if not merged or name in taken.model_fields),
        request=tuple(dict.fromkeys(request)),
        stale=reads.stale,
        unknown=reads.unknown,
        defaults=dict(reads.defaults),
        logged=reads.logged,
        timeout_ms=reads.timeout_ms,
    )


def _check(model: str, options: Options, request: set[str]) -> None:
    cache, journal = options.cache, options.journal
    named: dict[str, set[str]] = {}
    if cache is not None:
        similar = () if cache.similar is None else (cache.similar.field,)
        named["cache"] = {*cache.ignore, *cache.near, *similar}
    if options.last_good is not None:
        named["last_good"] = set(options.last_good.by)
    if strange := sorted(set(options.hedges) - {"primary", "simple"}):
        raise Misconfigured(f"{model} hedges {', '.join(strange)}; only primary and simple can be hedged")
    if journal is not None:
        named["journal"] = set(journal.omit)
    for option, names in named.items():
        if strange := sorted(names - request):
            raise Misconfigured(f"the {option} of {model} names {', '.join(strange)}, which its input has not")
