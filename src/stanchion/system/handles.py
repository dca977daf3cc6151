"""What a declaration gives back: a typed handle that is called in code, wherever the module lives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from ..core.context import Context
from ..core.errors import InvalidInput, Misconfigured, Unavailable, from_problem
from ..serving import Predictions, ServedSpec, Serving
from ..training import Dataset, TrainingSpec

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - input and output types read best as I and O
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - see above
F = TypeVar("F", bound=Callable[..., Any])


class Doors(Protocol):
    """Where handles find the modules: the running house, or the offline doubles of a test."""

    def door(self, contract: type[Any]) -> Any:
        """The gated module behind a contract. Raises Misconfigured if it is not in this system."""
        ...


class Bound:
    """A handle's connection to the running system. Handles work once their system is served or under test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._doors: Doors | None = None

    def specs(self) -> Sequence[object]:
        """The declarations that modules read. Raises Misconfigured for an unfinished one."""
        return ()

    def bind(self, doors: Doors | None) -> None:
        """Connect to a running house, or disconnect (None)."""
        self._doors = doors

    def _door(self, contract: type[Any]) -> Any:
        if self._doors is None:
            raise Misconfigured(
                f"{self.name} is declared but its system is not running",
                next_step="Serve it with `stanchion run`, or use stanchion.testing.offline(app) in a test.",
            )
        return self._doors.door(contract)


class Model(Bound, Generic[I, O]):
    """A declared model: typed instances in, typed outcomes out."""

    def __init__(self, spec: ServedSpec, output: type[O]) -> None:
        super().__init__(spec.name)
        self._spec = spec
        self._output = output

    @property
    def output(self) -> type[O]:
        """The type of its outcomes."""
        return self._output

    @property
    def source(self) -> object:
        """The declared server or graph that answers, None for a function or a registered model."""
        return self._spec.source

    def specs(self) -> Sequence[object]:
        return (self._spec,)

    async def predict(self, ctx: Context, item: I) -> O:
        """The outcome for one instance. Raises what serving raises: InvalidInput, Unavailable, NotAllowed."""
        [outcome] = await self.predict_many(ctx, [item])
        return outcome

    async def predict_many(self, ctx: Context, items: Sequence[I]) -> list[O]:
        """Outcomes in the order of the items; the first refused item raises its error."""
        door: Serving = self._door(Serving)
        answer = await door.predict(ctx, self.name, [item.model_dump(mode="json") for item in items])
        return self._typed(answer)

    def _typed(self, answer: Predictions) -> list[O]:
        outcomes = []
        for item in answer.items:
            if item.error is not None:
                raise from_problem(item.error)
            if item.review_item:
                raise Unavailable(
                    f"{self.name} has no answer yet: people were asked in {item.review_item}",
                    next_step="Wait for the item to be decided, or call again later.",
                )
            outcomes.append(self._output.model_validate(dict(item.values)))
        return outcomes


class TrainedModel(Model[I, O]):
    """A model that is trained here. Its parts are declared by decorators; `data` and `estimator` are needed."""

    def __init__(
        self,
        spec: ServedSpec,
        input: type[I],  # noqa: A002 - the declaration's own word
        output: type[O],
        *,
        test_share: float,
        seed: int,
        card: str,
    ) -> None:
        super().__init__(spec, output)
        self._input = input
        self._test_share = test_share
        self._seed = seed
        self._card = card
        self._parts: dict[str, Callable[..., Any]] = {}

    def data(self, function: Callable[[Path | None, int], Dataset]) -> Callable[[Path | None, int], Dataset]:
        """Declare where rows come from: `function(source, seed)`; source is None or the path that was named."""
        return self._part("data", function)

    def estimator(self, function: F) -> F:
        """Declare the estimator: a function that gives an unfitted scikit-learn classifier."""
        return self._part("estimator", function)

    def simple(self, function: F) -> F:
        """Declare the small estimator that stands in when the first one cannot answer."""
        return self._part("simple", function)

    def rule(self, function: Callable[[I], O | None]) -> Callable[[I], O | None]:
        """Declare the rule that answers when no estimator can; it may decline with None."""
        return self._part("rule", function)

    def _part(self, name: str, function: F) -> F:
        if name in self._parts:
            raise Misconfigured(f"{self.name} declares {name} twice")
        self._parts[name] = function
        return function

    def specs(self) -> Sequence[object]:
        missing = [name for name in ("data", "estimator") if name not in self._parts]
        if missing:
            raise Misconfigured(f"{self.name} declares no {' and no '.join(missing)}")
        spec, lookup = self._spec, self._spec.options.features
        served = ServedSpec(
            name=spec.name,
            input=spec.input,
            output=spec.output,
            rule=self._parts.get("rule"),
            default=spec.default,
            bands=spec.bands,
            timeouts=spec.timeouts,
            options=spec.options,
        )
        return (
            served,
            TrainingSpec(
                model=spec.name,
                input=spec.input,
                output=spec.output,
                data=self._parts["data"],
                estimator=self._parts["estimator"],
                simple=self._parts.get("simple"),
                features=None if lookup is None else lookup.service,
                entities={} if lookup is None else lookup.entities,
                bands=spec.bands,
                test_share=self._test_share,
                seed=self._seed,
                card=self._card,
            ),
        )


def check_bands(name: str, bands: Mapping[str, float], output: type[BaseModel]) -> None:
    """Raise InvalidInput if the bands do not start at 0, or do not rise towards 1."""
    bounds = list(bands.values())
    if bounds and (bounds[0] != 0.0 or sorted(set(bounds)) != bounds or bounds[-1] >= 1.0):
        raise InvalidInput(f"the bands of {name} must start at 0.0, rise, and stay below 1.0: {dict(bands)}")
    if bounds and "probability" not in output.model_fields:
        raise InvalidInput(f"the output of {name} has bands but no field `probability`")
