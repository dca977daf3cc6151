"""Stanchion's flags for programs that speak OpenFeature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, TargetingKeyMissingError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from ..core.clock import Clock
from ..core.flags.contract import Evaluation
from ..core.flags.rules import FlagSet
from ..core.values import Json

T = TypeVar("T", bool, str, int, float, Any)


class FlagProvider(AbstractProvider):
    """Evaluates in process against the FlagSet that `source` gives, such as one tenant's snapshot."""

    def __init__(self, source: Callable[[], FlagSet], *, clock: Clock) -> None:
        super().__init__()
        self._source = source
        self._clock = clock

    def get_metadata(self) -> Metadata:
        return Metadata(name="stanchion")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        found = self._evaluate(flag_key, evaluation_context)
        if not isinstance(found.value, bool):
            raise _mismatch(found, "a boolean")
        return _details(found, found.value)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        found = self._evaluate(flag_key, evaluation_context)
        if not isinstance(found.value, str):
            raise _mismatch(found, "a string")
        return _details(found, found.value)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        found = self._evaluate(flag_key, evaluation_context)
        if not isinstance(found.value, int) or isinstance(found.value, bool):
            raise _mismatch(found, "an integer")
        return _details(found, found.value)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        found = self._evaluate(flag_key, evaluation_context)
        if not isinstance(found.value, int | float) or isinstance(found.value, bool):
            raise _mismatch(found, "a number")
        return _details(found, float(found.value))

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        found = self._evaluate(flag_key, evaluation_context)
        if not isinstance(found.value, list | dict):
            raise _mismatch(found, "an object or a list")
        # JSON values are flag values, except for null inside them, which OpenFeature's types do not name.
        value: Any = found.value
        return _details(found, value)

    def _evaluate(self, key: str, context: EvaluationContext | None) -> Evaluation:
        attributes: dict[str, Json] = {}
        if context is not None:
            attributes = {name: _plain(value) for name, value in context.attributes.items()}
            if context.targeting_key:
                attributes["targeting_key"] = context.targeting_key
        found = self._source().evaluate(key, attributes, now=self._clock.now())
        if found.error == "FLAG_NOT_FOUND":
            raise FlagNotFoundError(f"there is no flag {key}")
        if found.error == "TARGETING_KEY_MISSING":
            raise TargetingKeyMissingError(f"flag {key} splits by an attribute that was not given")
        return found


def _plain(value: Any) -> Json:
    plain: Json = value.isoformat() if isinstance(value, datetime) else value
    return plain


def _mismatch(found: Evaluation, wanted: str) -> TypeMismatchError:
    return TypeMismatchError(f"flag {found.key} is {type(found.value).__name__}, not {wanted}")


def _details(found: Evaluation, value: T) -> FlagResolutionDetails[T]:
    return FlagResolutionDetails(
        value=value,
        variant=found.variant,
        reason=Reason(found.reason),
        flag_metadata={"version": found.version},
    )
