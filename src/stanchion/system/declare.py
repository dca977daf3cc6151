"""The declaration object: what a user writes in `system.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, get_args, get_type_hints

from pydantic import BaseModel

from ..core.declaration import Declarations
from ..core.errors import Misconfigured
from ..core.flags import Flag
from ..features import Aggregate, Table
from ..serving import GuardBand, ServedSpec
from .documents import DocumentDeclarations
from .events import EventDeclarations
from .features import FeatureService, FeatureView, OnDemand, Source
from .gateway import Gateways
from .handles import Bound, Doors, Model, TrainedModel, check_bands
from .pipelines import PipelineDeclarations
from .reviews import ReviewDeclarations
from .runtimes import Runtimes
from .serving_options import ServingOptions, options_of
from .sidecar import Sidecar
from .sidecar import declared as declared_sidecar
from .streams import StreamDeclarations

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - input and output types read best as I and O
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - see above
E = TypeVar("E", bound=BaseModel)
H = TypeVar("H", bound=Bound)
P = ParamSpec("P")


class System(
    DocumentDeclarations,
    EventDeclarations,
    PipelineDeclarations,
    ReviewDeclarations,
    StreamDeclarations,
    Gateways,
    Runtimes,
    Declarations,
):
    """An AI system: models, features and their rules under one name.

    A declaration gives a typed handle. What is declared is what is called: in the same process, in another
    one, or in a test with the offline doubles of `stanchion.testing`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._handles: dict[str, Bound] = {}

    def trained(
        self,
        name: str,
        *,
        input: type[I],  # noqa: A002 - the field's own word
        output: type[O],
        bands: Mapping[str, float] | None = None,
        default: O | None = None,
        timeouts: Mapping[str, float] | None = None,
        test_share: float = 0.2,
        seed: int = 7,
        card: str = "",
        **options: Unpack[ServingOptions],
    ) -> TrainedModel[I, O]:
        """Declare a model that is trained here and served from its registered versions.

        `bands` turn the probability into the label of the highest lower bound reached. `default` is the last
        rung's answer. `timeouts` are seconds by rung (`primary`, `simple`, `rule`). `test_share` of the rows
        is held out of training. `card` says what the model is for and not for. `options` are those of
        `ServingOptions`: features, cache, batch, rules, review and journal.
        """
        check_bands(name, bands or {}, output)
        spec = ServedSpec(
            name=name,
            input=input,
            output=output,
            default=default,
            bands=bands or {},
            timeouts=timeouts or {},
            options=options_of(name, options, input, self._handles, merged=False),
        )
        return self._keep(TrainedModel(spec, input, output, test_share=test_share, seed=seed, card=card))

    def model(
        self,
        name: str,
        *,
        fallback: Callable[[Any], BaseModel | None] | None = None,
        default: BaseModel | None = None,
        timeouts: Mapping[str, float] | None = None,
        **options: Unpack[ServingOptions],
    ) -> Callable[[Callable[Concatenate[Sequence[I], P], Awaitable[list[O]] | list[O]]], Model[I, O]]:
        """Declare a model that is a Python function: a sequence of instances in, a list of outcomes out.

        An async function runs on the event loop, a plain one on a bounded pool of threads.
        The function's annotations give the schemas. With a parameter `ctx` it gets the caller's Context, to call
        others. `fallback` answers, one by one, when it cannot. `options` are those of `ServingOptions`; with
        `features` the instances hold the looked-up features among their fields, and a caller gives the others.
        """

        def declare(function: Callable[Concatenate[Sequence[I], P], Awaitable[list[O]] | list[O]]) -> Model[I, O]:
            taken, given = _types(name, function)
            spec = ServedSpec(
                name=name,
                input=taken,
                output=given,
                function=function,
                rule=fallback,
                default=default,
                timeouts=timeouts or {},
                options=options_of(name, options, taken, self._handles, merged=True),
            )
            return self._keep(Model(spec, given))

        return declare

    def source(
        self,
        name: str,
        row: type[E],
        *,
        time: str,
        known: str | None = None,
        event: str | None = None,
        table: Table | None = None,
    ) -> Source[E]:
        """Declare where rows come from: their type, and the columns of event time and of when they became known.

        `event` is the column that tells apart the events of one entity at one moment, where there may be several.
        `table` says where they lie; without it they are pushed, and kept.
        """
        return self._keep(Source(name, row, time=time, known=known, event=event, table=table))

    def features(
        self,
        name: str,
        row: type[E],
        *,
        entity: str,
        ttl: timedelta,
        source: Source[Any] | None = None,
        select: Mapping[str, str] | None = None,
        aggregates: Mapping[str, Aggregate] | None = None,
        limit: int = 1_000,
    ) -> FeatureView[E]:
        """Declare a feature view: rows of one type, found by the entity's key, served for at most `ttl`.

        With a source each field is a column of it, an SQL expression over one row of it (`select`) or a sliding
        window over it (`aggregates`, written with `count`, `total`, `mean` and so on of `stanchion.features`).
        `limit` is the most events of one entity that its longest window may hold.
        """
        return self._keep(
            FeatureView(
                name, row, entity=entity, ttl=ttl, source=source, select=select, aggregates=aggregates, limit=limit
            )
        )

    def on_demand(
        self, name: str, *, views: Sequence[FeatureView[Any]] = (), request: type[BaseModel] | None = None
    ) -> Callable[[Callable[[Mapping[str, Any]], O]], OnDemand[O]]:
        """Declare features computed at request time, by a function of one mapping with all inputs' fields.

        The function's annotation gives the output's type. It must depend on its inputs alone: training sets are
        computed by it too.
        """

        def declare(function: Callable[[Mapping[str, Any]], O]) -> OnDemand[O]:
            return self._keep(OnDemand(name, function, views=views, request=request))

        return declare

    def feature_service(
        self, name: str, views: Sequence[FeatureView[Any]], *, on_demand: Sequence[OnDemand[Any]] = ()
    ) -> FeatureService:
        """Declare the features that one model reads, under a name that its versions pin."""
        return self._keep(FeatureService(name, views, on_demand=on_demand))

    def sidecar(
        self,
        name: str,
        model: Model[Any, Any],
        *,
        value: str,
        confidence: str = "",
        flag: Flag | str,
        guard: GuardBand,
        limit: float = 0.1,
    ) -> Sidecar:
        """Declare a sidecar: an existing service asks for the model's `value` instead of its own.

        It gets it if the boolean `flag` is on for the unit, the `guard` lets it pass and it comes within `limit`
        seconds; else its own value, and why. A `Flag` is declared with the system, a key names one kept elsewhere.
        """
        return self._keep(
            declared_sidecar(name, model, value=value, confidence=confidence, flag=flag, guard=guard, limit=limit)
        )

    def all(self) -> Sequence[object]:
        """Every declaration, in the order of the file. Raises Misconfigured for an unfinished one."""
        return [spec for handle in self._handles.values() for spec in handle.specs()]

    def bind(self, doors: Doors | None) -> None:
        """Connect every handle to a running house, or disconnect them (None)."""
        for handle in self._handles.values():
            handle.bind(doors)

    def _keep(self, handle: H) -> H:
        if handle.name in self._handles:
            raise Misconfigured(f"{handle.name!r} is declared twice in system {self.name!r}")
        self._handles[handle.name] = handle
        return handle


def _types(name: str, function: Callable[[Sequence[I]], Awaitable[list[O]] | list[O]]) -> tuple[type[I], type[O]]:
    hints = get_type_hints(function)
    result = get_args(hints.pop("return", None))
    taken = get_args(next(iter(hints.values()), None))
    if len(taken) != 1 or len(result) != 1:
        raise Misconfigured(f"{name} must be annotated as `async def f(items: Sequence[In]) -> list[Out]`")
    return taken[0], result[0]
