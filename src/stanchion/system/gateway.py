"""What a system declares of its gateway: upstreams, the models they serve, and routes by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar, cast

import msgspec

from ..core.context import Context
from ..core.errors import Misconfigured
from ..gateway import (
    Ask,
    Credential,
    Gateway,
    Kind,
    ModelSpec,
    PriceSpec,
    RouteSpec,
    Shape,
    UpstreamSpec,
    check_route,
    check_together,
)
from .handles import Bound

H = TypeVar("H", bound=Bound)


class Upstream(Bound):
    """A declared server of models."""

    def __init__(self, spec: UpstreamSpec) -> None:
        super().__init__(f"upstream:{spec.name}")
        self.spec = spec

    def specs(self) -> Sequence[object]:
        return (self.spec,)


class Asked(Bound):
    """What can be asked: a language model, or a route."""

    def __init__(self, name: str, asked: str) -> None:
        super().__init__(name)
        self.asked = asked
        """The name that a client sends as `model`."""

    async def chat(
        self, ctx: Context, messages: Sequence[Mapping[str, Any]], *, tags: Mapping[str, str] | None = None, **more: Any
    ) -> Mapping[str, Any]:
        """A chat completion as OpenAI has it; `more` are its further fields. Raises what `Gateway.complete` does."""
        door: Gateway = self._door(Gateway)
        body = msgspec.json.encode({"model": self.asked, "messages": list(messages), **more})
        reply = await door.complete(ctx, Ask("chat", body, tags=tags or {}))
        # The shape's own answer: an object, or the upstream would have been refused.
        return cast("Mapping[str, Any]", msgspec.json.decode(reply.body))


class DeclaredLanguageModel(Asked):
    """A declared model of an upstream."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(f"language-model:{spec.name}", spec.name)
        self.spec = spec

    def specs(self) -> Sequence[object]:
        return (self.spec,)


class DeclaredRoute(Asked):
    """A declared route."""

    def __init__(self, spec: RouteSpec) -> None:
        super().__init__(f"route:{spec.name}", f"route:{spec.name}")
        self.spec = spec

    def specs(self) -> Sequence[object]:
        return (self.spec,)


class Gateways:
    """The declarations of the gateway, as part of `System`."""

    _handles: dict[str, Bound]

    def _keep(self, handle: H) -> H:
        raise NotImplementedError

    def upstream(
        self,
        name: str,
        *,
        kind: Kind,
        url: str = "",
        credential: Credential | str | None = None,
        on_premises: bool = False,
        region: str = "",
        headers: Mapping[str, str] | None = None,
        seconds: float = 120.0,
        connect_seconds: float = 5.0,
        concurrency: int = 64,
        plain_http: bool = False,
    ) -> Upstream:
        """Declare a server of models; see `stanchion.gateway.UpstreamSpec`.

        `credential` is a reference such as `env:OPENAI_API_KEY`, never the key itself.
        """
        spec = UpstreamSpec(
            name=name,
            kind=kind,
            url=url,
            credential=Credential(credential) if isinstance(credential, str) else credential,
            on_premises=on_premises,
            region=region,
            headers=dict(headers or {}),
            seconds=seconds,
            connect_seconds=connect_seconds,
            concurrency=concurrency,
            plain_http=plain_http,
        )
        return self._keep(Upstream(spec))

    def language_model(
        self,
        name: str,
        *,
        upstream: Upstream | str,
        model: str = "",
        shapes: Sequence[Shape] = (),
        context: int | None = None,
        max_output: int | None = None,
        input_price: str | None = None,
        output_price: str | None = None,
        price: PriceSpec | None = None,
    ) -> DeclaredLanguageModel:
        """Declare a model that clients ask for by name; see `stanchion.gateway.ModelSpec`.

        Prices are dollars for a million tokens, as decimal text; they go before the table of prices.
        """
        server = upstream.spec.name if isinstance(upstream, Upstream) else upstream
        if price is None and (input_price is not None or output_price is not None):
            price = PriceSpec(server, model or name, input=input_price, output=output_price)
        spec = ModelSpec(
            name=name,
            upstream=server,
            model=model,
            shapes=frozenset(shapes),
            context=context,
            max_output=max_output,
            price=price,
        )
        servers = [handle.spec for handle in self._handles.values() if isinstance(handle, Upstream)]
        check_together([spec], servers)
        return self._keep(DeclaredLanguageModel(spec))

    def route(
        self,
        name: str,
        *,
        primary: DeclaredLanguageModel | str,
        fallbacks: Sequence[DeclaredLanguageModel | str] = (),
        max_latency_ms: int | None = None,
        max_cost: str | Decimal | None = None,
        weights: Mapping[str, float] | None = None,
        conditions: Mapping[str, str] | None = None,
        attempts: int = 1,
        hedge_ms: int | None = None,
    ) -> DeclaredRoute:
        """Declare a route, which clients ask for as `route:NAME`; see `stanchion.gateway.RouteSpec`.

        `max_cost` is dollars for one call, as decimal text.
        """
        if isinstance(max_cost, float):
            raise Misconfigured(f"max_cost of the route {name} is a float, which is not exact: write it as text")
        spec = RouteSpec(
            name=name,
            primary=_model(primary),
            fallbacks=tuple(_model(each) for each in fallbacks),
            max_latency_ms=max_latency_ms,
            max_cost=None if max_cost is None else str(max_cost),
            weights=dict(weights or {}),
            conditions=dict(conditions or {}),
            attempts=attempts,
            hedge_ms=hedge_ms,
        )
        models = [h.spec.name for h in self._handles.values() if isinstance(h, DeclaredLanguageModel)]
        check_route(spec, models)
        return self._keep(DeclaredRoute(spec))


def _model(model: DeclaredLanguageModel | str) -> str:
    return model if isinstance(model, str) else model.spec.name
