"""What a system declares of its gateway: upstreams, the models they serve, and routes by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack, cast

import msgspec

from ..core.context import Context, Sensitivity
from ..core.errors import Misconfigured
from ..gateway import (
    Ask,
    Balance,
    BudgetSpec,
    Calibration,
    CascadeSpec,
    Check,
    Credential,
    Gateway,
    Judge,
    Kind,
    Limit,
    ModelSpec,
    PriceSpec,
    PrivacySpec,
    RailSpec,
    RouteSpec,
    Shape,
    Side,
    SimilarSpec,
    ToolServerSpec,
    Treatment,
    UpstreamSpec,
    Verify,
    check_route,
    check_together,
)
from .handles import Bound

H = TypeVar("H", bound=Bound)


class PrivacyRules(TypedDict, total=False):
    """The rules of `PrivacySpec`, all of them optional."""

    ask: Mapping[str, Treatment]
    answer: Mapping[str, Treatment]
    patterns: Mapping[str, str]
    labels: Mapping[str, Sensitivity]
    declared: Sensitivity
    opaque: Sensitivity
    on_premises: frozenset[Sensitivity]
    regions: Mapping[Sensitivity, frozenset[str]]
    phone_regions: tuple[str, ...]


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


class DeclaredCascade(Asked):
    """A declared cascade."""

    def __init__(self, spec: CascadeSpec) -> None:
        super().__init__(f"cascade:{spec.name}", f"cascade:{spec.name}")
        self.spec = spec

    def specs(self) -> Sequence[object]:
        return (self.spec,)


class _Rule(Bound):
    """A rule over all calls: privacy, or a rail."""

    def __init__(self, name: str, spec: object) -> None:
        super().__init__(name)
        self._spec = spec

    def specs(self) -> Sequence[object]:
        return (self._spec,)


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
        probe_seconds: float | None = None,
        probe_path: str = "",
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
            probe_seconds=probe_seconds,
            probe_path=probe_path,
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
        cache_seconds: int | None = None,
        balance: Balance = "",
        similar: SimilarSpec | None = None,
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
            cache_seconds=cache_seconds,
            balance=balance,
            similar=similar,
        )
        models = [h.spec.name for h in self._handles.values() if isinstance(h, DeclaredLanguageModel)]
        check_route(spec, models)
        return self._keep(DeclaredRoute(spec))

    def budget(
        self, name: str, *, subject: str = "tenant", limits: Sequence[Limit] = (), concurrency: int | None = None
    ) -> None:
        """Declare what a subject may use; see `stanchion.gateway.BudgetSpec`."""
        self._keep(_Rule(f"budget:{name}", BudgetSpec(name, subject, tuple(limits), concurrency)))

    def price(
        self,
        provider: str,
        model: str,
        *,
        input_price: str | None = None,
        output_price: str | None = None,
        cached_price: str | None = None,
        cache_write_price: str | None = None,
        request_price: str | None = None,
    ) -> None:
        """Declare what the models of an upstream cost, also of one on one's own machines; see
        `stanchion.gateway.PriceSpec`. The first declaration that matches holds; a model's own price goes before it.
        """
        spec = PriceSpec(provider, model, input_price, output_price, cached_price, cache_write_price, request_price)
        self._keep(_Rule(f"price:{provider}/{model}", spec))

    def cascade(
        self,
        name: str,
        *,
        steps: Sequence[DeclaredLanguageModel | DeclaredRoute | str],
        verify: Verify,
        calibration: Calibration | Path | str | None = None,
    ) -> DeclaredCascade:
        """Declare models of which the cheapest whose answer will do answers; asked for as `cascade:NAME`.

        `verify` is the check between the steps, and `calibration` what `stanchion gateway calibrate` has found, or the
        file that it wrote; see `stanchion.gateway.CascadeSpec`.
        """
        if isinstance(calibration, str | Path):
            calibration = _calibration(Path(calibration))
        names = tuple(each if isinstance(each, str) else each.asked for each in steps)
        known = [handle.asked for handle in self._handles.values() if isinstance(handle, Asked)]
        for asked in (*names, *((verify.model,) if isinstance(verify, Judge) else ())):
            if asked not in known:
                near = get_close_matches(asked, known, n=1)
                raise Misconfigured(
                    f"the cascade {name} asks {asked!r}, which is not declared before it",
                    next_step=f"Did you mean {near[0]!r}?" if near else "Declare the model first.",
                )
        return self._keep(DeclaredCascade(CascadeSpec(name=name, steps=names, verify=verify, calibration=calibration)))

    def tool_server(
        self,
        name: str,
        *,
        url: str,
        credential: Credential | str | None = None,
        headers: Mapping[str, str] | None = None,
        tools: Sequence[str] = ("*",),
        keys: Mapping[str, Sequence[str]] | None = None,
        on_premises: bool = False,
        as_given: bool = False,
        region: str = "",
        seconds: float = 60.0,
        plain_http: bool = False,
    ) -> None:
        """Declare a server of tools that speaks MCP; see `stanchion.gateway.ToolServerSpec`."""
        spec = ToolServerSpec(
            name=name,
            url=url,
            credential=Credential(credential) if isinstance(credential, str) else credential,
            headers=dict(headers or {}),
            tools=tuple(tools),
            keys={principal: tuple(patterns) for principal, patterns in (keys or {}).items()},
            on_premises=on_premises,
            as_given=as_given,
            region=region,
            seconds=seconds,
            plain_http=plain_http,
        )
        self._keep(_Rule(f"tools:{name}", spec))

    def privacy(self, **rules: Unpack[PrivacyRules]) -> None:
        """Declare what may leave the house, once for the system; see `stanchion.gateway.PrivacySpec`."""
        if "gateway:privacy" in self._handles:
            raise Misconfigured("privacy is declared twice; one set of rules holds for the whole system")
        self._keep(_Rule("gateway:privacy", PrivacySpec(**rules)))

    def rail(
        self, name: str, check: Check, *, on: Sequence[Side] = ("ask",), action: Literal["block", "flag"] = "block"
    ) -> None:
        """Declare a check of requests, answers or both; see `stanchion.gateway.RailSpec`."""
        self._keep(_Rule(f"rail:{name}", RailSpec(name=name, check=check, on=tuple(on), action=action)))


def _calibration(file: Path) -> Calibration:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Calibration)
    except (OSError, msgspec.MsgspecError) as error:
        raise Misconfigured(
            f"{file} holds no calibration: {error}", next_step="Write it with `stanchion gateway calibrate --output`."
        ) from error


def _model(model: DeclaredLanguageModel | str) -> str:
    return model if isinstance(model, str) else model.spec.name
