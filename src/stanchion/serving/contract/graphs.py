"""Models made of models: ensembles, chains and switches. Each is served like any other, with a ladder of its own.

Members are named by references (`name`, `name@alias`, `name@1.4.0`) and called through serving itself, so that each
has its own version, rollout, cache and fallback. No graph may contain itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import Misconfigured
from ...core.values import Json


@dataclass(frozen=True, slots=True)
class Member:
    """One model of an ensemble. `weight` counts in votes and means. `fields` are those of the instance that it is
    given, all where that is empty. After `seconds` it counts as failed."""

    model: str
    weight: float = 1.0
    fields: tuple[str, ...] = ()
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.weight > 0 or (self.seconds is not None and self.seconds <= 0):
            raise Misconfigured(f"the member {self.model} needs weight > 0 and seconds > 0")


@dataclass(frozen=True, slots=True)
class Vote:
    """The value of `field` with the greatest weight behind it; of equals, that of the member declared first.
    `share`, if named, is the output field that takes its part of the weight, 0 to 1."""

    field: str
    share: str = ""


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """The weighted mean of each of `fields`. `label`, if named, is the output field that takes the name of the highest
    of `bands` that the first field's mean reaches."""

    fields: tuple[str, ...]
    label: str = ""
    bands: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bounds = list(self.bands.values())
        if not self.fields or bool(self.label) != bool(bounds):
            raise Misconfigured("a mean needs fields, and `label` and `bands` both or neither")
        if bounds and (bounds[0] != 0.0 or sorted(set(bounds)) != bounds):
            raise Misconfigured(f"the bands of a mean must start at 0.0 and rise: {dict(self.bands)}")


@dataclass(frozen=True, slots=True)
class Stack:
    """The answer of a model over the members' answers: its input fields by name, each as `member.field` or, for a field
    of the instance itself, `input.field`. A member is named by its model, without version."""

    model: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Fail:
    """One failed member fails the ensemble: its next rung answers."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Failed members are left out, as long as `least` have answered. Not for a stack, whose model needs them all."""

    least: int = 1

    def __post_init__(self) -> None:
        if self.least < 1:
            raise Misconfigured("at least one member must answer")


@dataclass(frozen=True, slots=True)
class Substitute:
    """The declared values stand in for a failed member, by its model; one without any fails the ensemble."""

    values: Mapping[str, Mapping[str, Json]]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Members asked at the same time, and how their answers become one.

    A member fails if it raises, is late, or refuses the instance. With `strict` it also fails where it was not its
    first rung (or its cache) that answered.
    """

    members: tuple[Member, ...]
    by: Vote | WeightedMean | Stack
    on_failure: Fail | Drop | Substitute = Fail()
    strict: bool = False

    def __post_init__(self) -> None:
        names = [bare(each.model) for each in self.members]
        if not names or len(set(names)) < len(names):
            raise Misconfigured(f"an ensemble needs members, each once: {', '.join(names) or 'none'}")
        if isinstance(self.on_failure, Drop):
            if isinstance(self.by, Stack):
                raise Misconfigured("a stack needs the answers of all members: substitute, or fail")
            if self.on_failure.least > len(names):
                raise Misconfigured(f"{self.on_failure.least} of {len(names)} members can never answer")


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps one after the other: a model by its reference, or a function `def step(item: In) -> Out`, plain or async,
    whose annotations are pydantic types. What one step gives the next one takes, by field."""

    steps: tuple[str | Callable[[Any], Any], ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise Misconfigured("a chain needs a step")


@dataclass(frozen=True, slots=True)
class Case:
    """Instances for which `when(instance)` is true go to `model`."""

    when: Callable[[Any], bool]
    model: str


@dataclass(frozen=True, slots=True)
class Switch:
    """Each instance goes to the model of the first case that holds, else to `otherwise`."""

    cases: tuple[Case, ...]
    otherwise: str

    def __post_init__(self) -> None:
        if not self.cases:
            raise Misconfigured("a switch needs a case")


def bare(reference: str) -> str:
    """The model of a reference, without version or alias."""
    return reference.partition("@")[0]


def members_of(source: object) -> tuple[str, ...]:
    """The models that a graph calls, by their bare names; none for what is no graph."""
    match source:
        case Ensemble():
            stacked = (source.by.model,) if isinstance(source.by, Stack) else ()
            return tuple(bare(each) for each in (*(m.model for m in source.members), *stacked))
        case Chain():
            return tuple(bare(each) for each in source.steps if isinstance(each, str))
        case Switch():
            return tuple(bare(each) for each in (*(case.model for case in source.cases), source.otherwise))
        case _:
            return ()


def check_circles(graphs: Mapping[str, Sequence[str]]) -> None:
    """Raise Misconfigured, with the way round, if a graph calls itself through others."""
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise Misconfigured(f"models call each other in a circle: {' -> '.join((*path[path.index(name) :], name))}")
        if name in done:
            return
        for each in graphs.get(name, ()):
            walk(each, (*path, name))
        done.add(name)

    for name in graphs:
        walk(name, ())
