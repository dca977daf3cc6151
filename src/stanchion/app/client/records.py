"""The client's calls besides predictions: what is served, and what became of what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.errors import StanchionError, from_problem
from .calls import Call, decoded, encoded
from .outcomes import Outcome

if TYPE_CHECKING:
    from ...serving import Noted, ServedModel

MODELS = Call("GET", "/v1/serving/models")


def truth(prediction: Outcome[Any] | str, label: float | str | bool | None, outcome: float | None, metric: str) -> Call:
    """The request that tells what became of one prediction."""
    named = (
        {"request_id": prediction}
        if isinstance(prediction, str)
        else {"request_id": prediction.request_id, "instance": prediction.instance}
    )
    told = {"label": label, "outcome": outcome, "metric": metric if outcome is not None else None}
    item = {**named, **{name: value for name, value in told.items() if value is not None}}
    return Call("POST", "/v1/feedback", encoded({"items": [item]}))


def noted(content: bytes) -> Noted:
    """What was done with it. Raises the error with which it was refused."""
    from ...serving import Noted

    [item] = decoded(content)["results"]
    found: Noted = _converted(item, Noted)
    if found.error is not None:
        raise from_problem(found.error)
    return found


def served(content: bytes) -> Sequence[ServedModel]:
    """The served models."""
    from ...serving import ServedModel

    return [_converted(each, ServedModel) for each in decoded(content)["data"]]


def _converted(value: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise StanchionError(
            f"the answer is not what this client expects: {error}",
            next_step="Use a client of the server's version.",
        ) from error
