"""What a contract is: a Protocol whose every method names its action and its effect.

The gate, the remote client and server, and the house tests all read contracts through here, so a method
without an action cannot be built, served or called: the default is deny.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from .context import Context, EffectKind
from .errors import Misconfigured

F = TypeVar("F", bound=Callable[..., object])
_MARK = "__stanchion_action__"


@dataclass(frozen=True, slots=True)
class Action:
    """`name` is `module:verb`; `resource` is the policy type acted on and `by` the parameter that names it.

    Where `by` is None the action concerns all resources of the type in the caller's tenant.
    """

    name: str
    effect: EffectKind
    resource: str
    by: str | None = None
    seconds: float | None = None


def action(
    name: str, *, effect: EffectKind, resource: str, by: str | None = None, seconds: float | None = None
) -> Callable[[F], F]:
    """Mark a contract method with the permission it needs and the effect it has.

    `read` changes nothing; `write` changes our own store, audited in the transaction of the change;
    `outward` reaches beyond it, audited as an intent before and an outcome after. `seconds` is the
    method's own time limit, on top of the caller's deadline.
    """

    def mark(function: F) -> F:
        setattr(function, _MARK, Action(name, effect, resource, by, seconds))
        return function

    return mark


@dataclass(frozen=True, slots=True)
class Method:
    """One contract method, read once from its signature; `arguments` leaves out self and ctx."""

    name: str
    action: Action
    streams: bool
    signature: inspect.Signature
    arguments: dict[str, Any]
    result: Any


def methods(contract: type[Any]) -> tuple[Method, ...]:
    """Every method of a contract. Raises Misconfigured where one has no action, no ctx or no types."""
    names = [n for c in reversed(contract.__mro__[:-1]) for n, f in vars(c).items() if _is_method(n, f, c)]
    return tuple(_read(contract, name) for name in dict.fromkeys(names))


def _is_method(name: str, value: object, owner: type[Any]) -> bool:
    return inspect.isfunction(value) and not name.startswith("_") and owner.__module__ != "typing"


def _read(contract: type[Any], name: str) -> Method:
    function = getattr(contract, name)
    where = f"{contract.__module__}.{contract.__name__}.{name}"
    mark = getattr(function, _MARK, None)
    if not isinstance(mark, Action):
        raise Misconfigured(f"{where} has no @action, so nobody could be permitted to call it")
    hints = get_type_hints(function)
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1:]
    if not parameters or hints.get(parameters[0].name) is not Context:
        raise Misconfigured(f"{where} must take ctx: Context first")
    missing = [p.name for p in parameters if p.name not in hints] + ([] if "return" in hints else ["return"])
    if missing:
        raise Misconfigured(f"{where} has untyped parts: {', '.join(missing)}")
    if mark.by is not None and mark.by not in signature.parameters:
        raise Misconfigured(f"{where} names its resource by an unknown parameter {mark.by!r}")
    result = hints["return"]
    streams = get_origin(result) is AsyncIterator
    return Method(
        name=name,
        action=mark,
        streams=streams,
        signature=signature,
        arguments={p.name: hints[p.name] for p in parameters[1:]},
        result=get_args(result)[0] if streams else result,
    )
