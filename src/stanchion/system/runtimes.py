"""Declarations of models that run elsewhere or are made of other models, and of those registered from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Required, TypeVar, Unpack, cast

from ..core.errors import Misconfigured
from ..core.values import Json
from ..serving import (
    Case,
    Chain,
    Credential,
    Drop,
    Endpoint,
    Ensemble,
    Fail,
    Layout,
    Member,
    ModelSource,
    Remote,
    ServedSpec,
    Stack,
    Substitute,
    Switch,
    Vote,
    WeightedMean,
    check_circles,
    members_of,
)
from .handles import Bound, I, Model, O
from .serving_options import ServingOptions, options_of

H = TypeVar("H", bound=Bound)
Named = str | Model[Any, Any]


class Declared(ServingOptions, Generic[I, O], total=False):
    """What every declaration here takes: `input` and `output` types (needed), `fallback(instance)` and `default` as
    the rungs behind the first, `timeouts` in seconds by rung, and the options of `ServingOptions`."""

    input: Required[type[I]]
    output: Required[type[O]]
    fallback: Callable[[I], O | None]
    default: O
    timeouts: Mapping[str, float]


_OWN = ("input", "output", "fallback", "default", "timeouts")


class Runtimes:
    """What `System` can declare besides models that are trained here and Python functions."""

    _handles: dict[str, Bound]

    def _keep(self, handle: H) -> H:
        raise NotImplementedError("System keeps the handles")

    def registered(
        self,
        name: str,
        **declared: Unpack[Declared[I, O]],
    ) -> Model[I, O]:
        """Declare a model whose versions are registered from outside, such as any ONNX graph with a layout.

        Until there is a version, `fallback` and `default` answer.
        """
        return self._served(name, None, declared)

    def remote(
        self,
        name: str,
        *,
        url: str,
        model: str | None = None,
        version: str = "",
        layout: Layout | None = None,
        seconds: float = 5.0,
        headers: Mapping[str, str] | None = None,
        credential: Credential | None = None,
        plain_http: bool = False,
        **declared: Unpack[Declared[I, O]],
    ) -> Model[I, O]:
        """Declare a model on a server of the Open Inference Protocol (REST); see `stanchion.serving.Remote`.

        `model` is its name there, if it is another one.
        """
        source = Remote(
            url=url,
            model=model or name,
            version=version,
            layout=layout,
            seconds=seconds,
            headers=headers or {},
            credential=credential,
            plain_http=plain_http,
        )
        return self._served(name, source, declared, seconds=seconds)

    def endpoint(
        self,
        name: str,
        *,
        url: str,
        body: Mapping[str, Json],
        answer: Mapping[str, str],
        each: Mapping[str, Json] | None = None,
        instances: str | None = None,
        at_once: int = 8,
        seconds: float = 5.0,
        headers: Mapping[str, str] | None = None,
        credential: Credential | None = None,
        plain_http: bool = False,
        **declared: Unpack[Declared[I, O]],
    ) -> Model[I, O]:
        """Declare a model behind any HTTP endpoint that takes and gives JSON; see `stanchion.serving.Endpoint`."""
        source = Endpoint(
            url=url,
            body=body,
            answer=answer,
            each=each,
            instances=instances,
            at_once=at_once,
            seconds=seconds,
            headers=headers or {},
            credential=credential,
            plain_http=plain_http,
        )
        return self._served(name, source, declared, seconds=seconds)

    def ensemble(
        self,
        name: str,
        *,
        members: Sequence[Named | Member],
        by: Vote | WeightedMean | Stack,
        on_failure: Fail | Drop | Substitute | None = None,
        strict: bool = False,
        **declared: Unpack[Declared[I, O]],
    ) -> Model[I, O]:
        """Declare an ensemble: members asked at the same time, their answers made one; see `stanchion.serving`.

        A member is a declared model, a reference to any served one, or a `Member` with weight, fields and limit.
        """
        found = tuple(each if isinstance(each, Member) else Member(self._reference(each)) for each in members)
        source = Ensemble(found, by, on_failure or Fail(), strict)
        return self._served(name, source, declared)

    def chain(
        self,
        name: str,
        *,
        steps: Sequence[Named | Callable[[Any], Any]],
        **declared: Unpack[Declared[I, O]],
    ) -> Model[I, O]:
        """Declare a chain: functions and models one after the other; see `stanchion.serving.Chain`."""
        found = tuple(each if callable(each) else self._reference(each) for each in steps)
        return self._served(name, Chain(found), declared)

    def switch(
        self,
        name: str,
        *,
        cases: Sequence[tuple[Callable[[I], bool], Named]],
        otherwise: Named,
        **declared: Unpack[Declared[I, O]],
    ) -> Model[I, O]:
        """Declare a switch: each instance goes to the model of the first case that holds, else to `otherwise`."""
        found = tuple(Case(when, self._reference(model)) for when, model in cases)
        source = Switch(found, self._reference(otherwise))
        return self._served(name, source, declared)

    def _served(
        self, name: str, source: ModelSource | None, declared: Declared[I, O], *, seconds: float | None = None
    ) -> Model[I, O]:
        self._check_circle(name, source)
        taken, given = declared["input"], declared["output"]
        own = {} if seconds is None else {"primary": seconds}
        # The other keys are those of ServingOptions, which a type checker cannot take apart.
        options = cast(ServingOptions, {key: value for key, value in declared.items() if key not in _OWN})
        spec = ServedSpec(
            name=name,
            input=taken,
            output=given,
            rule=declared.get("fallback"),
            default=declared.get("default"),
            timeouts={**own, **declared.get("timeouts", {})},
            options=options_of(name, options, taken, self._handles, merged=False),
            source=source,
        )
        return self._keep(Model(spec, given))

    def _check_circle(self, name: str, source: object) -> None:
        """A graph that would call itself is refused where it is declared, whichever of the circle comes last."""
        graphs = {name: members_of(source)}
        for handle in self._handles.values():
            if isinstance(handle, Model) and handle.source is not None:
                graphs[handle.name] = members_of(handle.source)
        check_circles(graphs)

    def _reference(self, named: Named) -> str:
        if isinstance(named, str):
            return named
        if self._handles.get(named.name) is not named:
            raise Misconfigured(f"{named.name} is declared in another system")
        return named.name
