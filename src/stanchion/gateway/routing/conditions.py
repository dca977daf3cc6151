"""Conditions of routes, in the Common Expression Language: side-effect free, always ending, the same everywhere.

The library is loaded with the first condition: routes without any need none.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ...core.errors import Misconfigured

_LONGEST = 2_000


class Condition:
    """One compiled expression. Raises Misconfigured for what is no condition."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise Misconfigured(f"a condition has at most {_LONGEST} characters")
        cel, environment = _environment()
        try:
            self._expression = environment.compile(text)
        except Exception as error:
            raise Misconfigured(
                f"the condition {text!r} cannot be read: {str(error).splitlines()[0]}",
                next_step="Write CEL over tenant, tags, tokens, label and region, such as `tags.team == 'legal'`.",
            ) from error
        if self._expression.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
            raise Misconfigured(f"the condition {text!r} gives no yes or no")

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Whether it does. One that fails, such as on a tag that is not there, does not hold."""
        try:
            return self._expression.eval(data=dict(facts)).value() is True
        except Exception:
            return False


@lru_cache(maxsize=1)
def _environment() -> tuple[Any, Any]:
    try:
        from cel_expr_python import cel
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"conditions of routes need {error.name}, which is not installed",
            next_step="Run `pip install 'stanchion[gateway]'`.",
        ) from error
    text = cel.Type.STRING
    variables = {
        "tenant": text,
        "tags": cel.Type.Map(text, text),
        "tokens": cel.Type.INT,
        "label": text,
        "region": text,
    }
    return cel, cel.NewEnv(variables=variables)
