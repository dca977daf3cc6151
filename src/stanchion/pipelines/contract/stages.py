"""A function as a stage: what its parameters are, and what calling it means where."""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_origin, get_type_hints

from ...core.context import Context
from ...core.errors import Misconfigured
from .checks import Check
from .declarations import Inject, Retry, StageSpec
from .graph import tracer
from .live import Step

if TYPE_CHECKING:
    pass

T = TypeVar("T")


class StageFailed(Exception):
    """A stage failed for good. The code of a run may catch it and do something else, the same at each replay."""

    def __init__(self, code: str, message: str, stage: str) -> None:
        super().__init__(f"{stage}: {message}")
        self.code = code
        self.message = message
        self.stage = stage


class Stage(Generic[T]):
    """A declared stage. In a pipeline's function a call is a node of its graph; elsewhere it is the plain function."""

    def __init__(self, spec: StageSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.__doc__ = spec.function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> T:
        """The function's answer; while a pipeline is read, what stands for it."""
        found = tracer()
        # A traced value stands for a T, which no type checker can follow.
        return cast(T, self.spec.function(*args, **kwargs) if found is None else found.call(self.spec, args, kwargs))

    def map(self, items: Sequence[Any], *, parallel: int = 8, **kwargs: Any) -> list[T]:
        """The answers for each item, in their order; the items go to the first parameter, `kwargs` to the others."""
        found = tracer()
        if found is None:
            return [self(item, **kwargs) for item in items]
        return cast("list[T]", found.map(self.spec, items, kwargs, parallel=parallel))


def stage_spec(
    name: str,
    function: Callable[..., T | Awaitable[T]],
    *,
    retry: Retry,
    timeout: timedelta | float | None,
    compensate: Callable[..., Any] | None,
    cache: timedelta | None,
    check: Check | None,
    record: str,
    effect: bool,
) -> StageSpec:
    """The declaration of a stage, from the function's annotations. Raises Misconfigured for what cannot be kept."""
    hints = get_type_hints(function, localns=_injectable())
    output = hints.pop("return", inspect.Parameter.empty)
    parameters = inspect.signature(function).parameters
    untyped = [each for each in parameters if each not in hints]
    if untyped or output is inspect.Parameter.empty:
        raise Misconfigured(f"the stage {name} has untyped parts: {', '.join([*untyped, 'return'][:3])}")
    injected = {each: kind for each in parameters if (kind := _kind(hints[each])) is not None}
    if "sql" in injected.values() and (inspect.iscoroutinefunction(function) or check or cache):
        raise Misconfigured(f"the stage {name} writes by SQL: it is a plain function without check and cache")
    if check is not None and not _is_list(output):
        raise Misconfigured(f"the stage {name} has a check of rows: it gives a list of them")
    return StageSpec(
        name=name,
        function=function,
        parameters={each: hints[each] for each in parameters if each not in injected},
        output=output,
        injected=injected,
        retry=retry,
        timeout=timeout.total_seconds() if isinstance(timeout, timedelta) else timeout,
        compensate=compensate,
        cache=cache,
        check=check,
        record=record,
        effect=effect or "sql" in injected.values(),
        code=code_of(function),
    )


def _is_list(kind: Any) -> bool:
    found = get_origin(kind) or kind
    return found is Any or (
        inspect.isclass(found) and issubclass(found, Sequence) and not issubclass(found, str | bytes)
    )


def _injectable() -> dict[str, Any]:
    # Stages may import Connection for the type checker only.
    try:
        from sqlalchemy import Connection
    except ModuleNotFoundError:
        return {}
    return {"Connection": Connection}


def injections(function: Callable[..., Any]) -> Mapping[str, Inject]:
    """Which parameters of a function are no values, and what they get."""
    hints = get_type_hints(function, localns=_injectable())
    return {
        each: kind for each in inspect.signature(function).parameters if (kind := _kind(hints.get(each))) is not None
    }


def _kind(hint: Any) -> Inject | None:
    if hint is Context:
        return "context"
    if hint is Step:
        return "step"
    named = getattr(hint, "__name__", ""), getattr(hint, "__module__", "")
    return "sql" if named[0] == "Connection" and named[1].startswith("sqlalchemy.") else None


def code_of(function: Callable[..., Any]) -> str:
    """The hash of a function's source: its version. Empty where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()


def version_of(codes: Sequence[str]) -> str:
    """Twelve hex digits that change with any of the codes."""
    return hashlib.sha256("\n".join(codes).encode()).hexdigest()[:12]
