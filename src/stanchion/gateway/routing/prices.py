"""What a model's tokens cost: as declared with it, else nothing on one's own machines, else by the table of prices."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ...core.errors import InvalidInput, Misconfigured
from ..contract.calls import Usage
from ..contract.money import PriceSpec
from ..contract.specs import SELF_HOSTED, ModelSpec, UpstreamSpec
from ..money.prices import declared_price
from ..ports import Price, Prices

_MILLION = 10**6


class Free(Price):
    """Tokens of one's own machines: they cost electricity, not dollars."""

    version = "self-hosted"

    def cost(self, usage: Usage) -> int:
        return 0


def declared(model: ModelSpec, upstream: UpstreamSpec, specs: Sequence[PriceSpec] = ()) -> Price | None:
    """The price that declarations give: the model's own, else the first of `specs` that names its upstream, or the kind
    of that, and its name there. None where the table of prices has to say. Raises Misconfigured.
    """
    spec = model.price or next((each for each in specs if _names(each, model, upstream)), None)
    if spec is not None:
        try:
            return declared_price(spec)
        except InvalidInput as error:
            raise Misconfigured(f"the price of the model {model.name}: {error.detail}") from error
    return Free() if upstream.kind in SELF_HOSTED or upstream.on_premises else None


def _names(spec: PriceSpec, model: ModelSpec, upstream: UpstreamSpec) -> bool:
    name, provider = (model.model or model.name).lower(), spec.provider.lower()
    here = any(fnmatchcase(each.lower(), provider) for each in (upstream.name, upstream.kind))
    return here and fnmatchcase(name, spec.model.lower())


def price_of(known: Price | None, upstream: UpstreamSpec, model: str, table: Prices | None) -> Price | None:
    """The declared price, else the table's, else None."""
    if known is not None or table is None:
        return known
    return table.price(upstream.kind, model)


def affordable(price: Price, tokens_in: int, most: int) -> int:
    """How many tokens of output fit into so many picodollars beside the input; 0 where not even that fits."""
    base = price.cost(Usage(tokens_in=tokens_in))
    if base > most:
        return 0
    each = price.cost(Usage(tokens_in=tokens_in, tokens_out=_MILLION)) - base
    return (1 << 31) - 1 if each <= 0 else (most - base) * _MILLION // each
