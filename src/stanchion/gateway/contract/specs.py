"""What `system.py` declares of the gateway: upstreams, the models they serve, and routes by task."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Literal, get_args
from urllib.parse import urlsplit

from ...core.errors import Misconfigured
from .calls import Shape
from .money import PriceSpec

Kind = Literal[
    "openai", "azure", "anthropic", "gemini", "bedrock", "mistral", "openrouter",
    "ollama", "vllm", "llamacpp", "tei", "compatible", "builtin",
]  # fmt: skip
"""Who serves the models. `compatible` is any server of OpenAI's API; `builtin` needs no server and no key."""

KINDS: tuple[Kind, ...] = get_args(Kind)
SHAPES: tuple[Shape, ...] = get_args(Shape)
SELF_HOSTED: frozenset[Kind] = frozenset(("ollama", "vllm", "llamacpp", "tei", "builtin"))
"""Kinds that run on one's own machines: without a declared price their tokens cost nothing."""

Balance = Literal["", "latency", "cost"]
"""By what the models of a route are ordered for each call; empty: they are asked as declared."""

BALANCES: tuple[Balance, ...] = get_args(Balance)
ROUTE_PREFIX = "route:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HOMES: Mapping[Kind, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
    "mistral": "https://api.mistral.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
}
_OPENAI: frozenset[Shape] = frozenset(("chat", "completions", "responses", "embeddings"))
_COMPATIBLE: frozenset[Shape] = frozenset(("chat", "completions", "embeddings"))
_NATIVE: Mapping[Kind, frozenset[Shape]] = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    "anthropic": frozenset(("messages",)),
    "gemini": frozenset(),
    "bedrock": frozenset(),
    "mistral": frozenset(("chat", "embeddings")),
    "openrouter": frozenset(("chat", "completions")),
    "ollama": _COMPATIBLE,
    "vllm": _COMPATIBLE | {"rerank"},
    "llamacpp": _COMPATIBLE | {"rerank"},
    "tei": frozenset(("embeddings",)),
    "compatible": _COMPATIBLE | {"rerank"},
    "builtin": frozenset(("chat", "embeddings")),
}


def native(kind: Kind) -> frozenset[Shape]:
    """The shapes that this kind of upstream speaks itself: such calls pass through untouched."""
    return _NATIVE[kind]


def nearest(word: str, known: Sequence[str]) -> str:
    """The known word that was probably meant, as the end of an error's sentence; empty if none is near."""
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret by reference (`env:NAME`, `file:/path`, `store:name`), read at each use.

    It is sent in `header` behind `prefix`; empty ones are those that the kind of upstream expects.
    """

    reference: str
    header: str = ""
    prefix: str = ""

    def __post_init__(self) -> None:
        if self.reference.partition(":")[0] not in ("env", "file", "store") or not self.reference.partition(":")[2]:
            raise Misconfigured(
                "a credential is a reference, never the secret itself",
                next_step="Write env:NAME, file:/path or store:name.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSpec:
    """A server of models.

    `url` is the part before the shape's own path, such as `https://host/v1`; empty is the provider's own. Calls go to
    that origin alone; no redirect is followed and no proxy of the environment is used. `on_premises` marks machines of
    one's own, where sensitive data may go; `region` is where the provider keeps data. `seconds` is the longest a call
    may take, `connect_seconds` the longest that connecting may, `concurrency` the most calls at once. Plain http to
    another machine must be allowed by `plain_http`.

    With `probe_seconds` the upstream is asked for `probe_path` that often (GET, with the credential; empty is the list
    of models, which costs nothing). One that fails three probes in a row is asked last, until a probe succeeds.
    """

    name: str
    kind: Kind
    url: str = ""
    credential: Credential | None = None
    on_premises: bool = False
    region: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 120.0
    connect_seconds: float = 5.0
    concurrency: int = 64
    most_bytes: int = 32 << 20
    plain_http: bool = False
    probe_seconds: float | None = None
    probe_path: str = ""

    def __post_init__(self) -> None:
        check_name("an upstream", self.name)
        if self.kind not in KINDS:
            raise Misconfigured(
                f"the upstream {self.name} is of the unknown kind {self.kind!r}{nearest(self.kind, KINDS)}",
                next_step=f"The kinds are {', '.join(KINDS)}.",
            )
        if self.kind != "builtin":
            _check_url(self.name, self.base, plain_http=self.plain_http)
        if min(self.seconds, self.connect_seconds) <= 0 or self.concurrency < 1 or self.most_bytes < 1:
            raise Misconfigured(f"the times and limits of the upstream {self.name} must be above 0")
        self._check_probe()

    def _check_probe(self) -> None:
        if self.probe_seconds is not None and not self.probe_seconds > 0:
            raise Misconfigured(f"probe_seconds of the upstream {self.name} must be above 0")
        if self.probe_path and not self.probe_path.startswith("/"):
            raise Misconfigured(f"probe_path of the upstream {self.name} begins with /")
        if self.probe_seconds is not None and self.kind == "bedrock":
            raise Misconfigured(
                f"the upstream {self.name} cannot be probed: what serves Bedrock's models lists none",
                next_step="Leave probe_seconds out; its circuit breaker watches its calls.",
            )

    @property
    def base(self) -> str:
        """The declared URL, or the provider's own, without a slash at its end."""
        url = (self.url or _HOMES.get(self.kind, "")).rstrip("/")
        # Its embeddings are below /v1, as OpenAI's are, and its rerank is not.
        return url.removesuffix("/v1") if self.kind == "tei" else url

    @property
    def here(self) -> bool:
        """Whether data stays on machines of one's own."""
        return self.on_premises or self.kind == "builtin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model as clients call it. `model` is its name at the upstream; empty: the same one.

    `shapes` are those that clients may use; empty: all that the upstream can serve. `context` is the most tokens in and
    out together, `max_output` the most out. `price` goes before the table of prices.
    """

    name: str
    upstream: str
    model: str = ""
    shapes: frozenset[Shape] = frozenset()
    context: int | None = None
    max_output: int | None = None
    price: PriceSpec | None = None

    def __post_init__(self) -> None:
        check_name("a model", self.name)
        for shape in self.shapes:
            if shape not in SHAPES:
                raise Misconfigured(f"the model {self.name} has the unknown shape {shape!r}{nearest(shape, SHAPES)}")
        if any(limit is not None and limit < 1 for limit in (self.context, self.max_output)):
            raise Misconfigured(f"the context and max_output of the model {self.name} must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarSpec:
    """When a question may be answered by the answer to another one: off unless a route has this.

    `embedder` is the declared model of embeddings that compares them. At a cosine of `sure` and more they match, unless
    their numbers, names, negations or opposites differ; from `unsure` on where their words are the same, or where the
    model `check`, asked whether one answer is right for both, says yes. All else of the request must be the same.
    """

    embedder: str
    sure: float = 0.97
    unsure: float = 0.9
    check: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.unsure <= self.sure <= 1:
            raise Misconfigured("the thresholds of similar questions are 0 < unsure <= sure <= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSpec:
    """A task: which models answer it, in order, and within what. Clients ask for the model `route:NAME`.

    `max_latency_ms` bounds the whole answer (of a stream: the first byte) over all models that are tried; one with
    others behind it may use two thirds of what is left. `max_cost` is in dollars, as decimal text: a model whose
    estimate is above it is passed over, and one without a known price too. `weights` draws who is asked first among
    the models named in it. `conditions` are CEL expressions by model, over `tenant`, `tags`, `tokens`, `label` and
    `region`: the model is asked only where its own holds. `balance` has the models ordered for each call, where they
    are as good as each other: `latency` asks first whichever has been quickest to a good answer of late, `cost`
    whichever the call may cost least at. `attempts` are the calls to one model, within a budget of
    retries that all calls share. After `hedge_ms` without a whole answer the next model is asked as well. For
    `cache_seconds` the same request of the same rights is answered by the answer it had, if that was no stream; with
    `similar` one that asks the same in other words is too.
    """

    name: str
    primary: str
    fallbacks: tuple[str, ...] = ()
    max_latency_ms: int | None = None
    max_cost: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    hedge_ms: int | None = None
    cache_seconds: int | None = None
    balance: Balance = ""
    similar: SimilarSpec | None = None

    def __post_init__(self) -> None:
        check_name("a route", self.name)
        if len(set(self.models)) < len(self.models):
            raise Misconfigured(f"the route {self.name} names a model twice")
        for option, named in (("weights", self.weights), ("conditions", self.conditions)):
            for model in named:
                if model not in self.models:
                    raise Misconfigured(
                        f"the {option} of the route {self.name} name {model!r}, which it does not ask"
                        + nearest(model, self.models)
                    )
        self._check_limits()

    def _check_limits(self) -> None:
        if self.balance not in BALANCES:
            raise Misconfigured(
                f"the balance of the route {self.name} is unknown: {self.balance!r}{nearest(self.balance, BALANCES)}",
                next_step="Write `latency` or `cost`, or leave it out.",
            )
        if self.similar is not None and self.cache_seconds is None:
            raise Misconfigured(f"the route {self.name} answers similar questions, and does not say for how long")
        if self.balance and self.weights:
            raise Misconfigured(f"the route {self.name} has both weights and balance: only one says who is asked first")
        if self.max_cost is not None and dollars(f"max_cost of the route {self.name}", self.max_cost) <= 0:
            raise Misconfigured(f"max_cost of the route {self.name} must be above 0")
        if any(limit is not None and limit < 1 for limit in (self.max_latency_ms, self.hedge_ms, self.cache_seconds)):
            raise Misconfigured(
                f"max_latency_ms, hedge_ms and cache_seconds of the route {self.name} must be at least 1"
            )
        if not 1 <= self.attempts <= 10:
            raise Misconfigured(f"the attempts of the route {self.name} must be 1 to 10")
        if self.weights and (min(self.weights.values()) < 0 or not 0 < sum(self.weights.values()) < float("inf")):
            raise Misconfigured(f"the weights of the route {self.name} must be at least 0, one of them more")

    @property
    def models(self) -> tuple[str, ...]:
        """Primary and fallbacks, in order."""
        return (self.primary, *self.fallbacks)


def check_name(what: str, name: str) -> None:
    """Raise Misconfigured for a name that could not stand in a URL."""
    if not _NAME.fullmatch(name):
        raise Misconfigured(
            f"{what} cannot be called {name[:80]!r}",
            next_step="Use letters, digits, dots, underscores and hyphens, 1 to 128 of them.",
        )


def dollars(what: str, text: str) -> int:
    """Decimal dollars as picodollars. Raises Misconfigured for what is no amount of 0 or more."""
    try:
        amount = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or amount < 0:
        raise Misconfigured(f"{what} is dollars as decimal text such as '0.05', not {text!r}")
    return int((amount * 10**12).to_integral_value(rounding="ROUND_CEILING"))


def check_together(models: Sequence[ModelSpec], upstreams: Sequence[UpstreamSpec]) -> None:
    """Raise Misconfigured where a model names an unknown upstream."""
    known = {upstream.name: upstream for upstream in upstreams}
    for model in models:
        if model.upstream not in known:
            raise Misconfigured(
                f"the model {model.name} is at the unknown upstream {model.upstream!r}"
                + nearest(model.upstream, list(known))
            )


def check_route(route: RouteSpec, models: Sequence[str]) -> None:
    """Raise Misconfigured where the route asks a model that is not declared."""
    others = () if route.similar is None else (route.similar.embedder, route.similar.check)
    for name in (*route.models, *filter(None, others)):
        if name not in models:
            raise Misconfigured(
                f"the route {route.name} asks the unknown model {name!r}{nearest(name, models)}",
                next_step=f"Declared are {', '.join(sorted(models)) or 'none'}.",
            )


def _check_url(name: str, url: str, *, plain_http: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Misconfigured(f"the URL of the upstream {name} is none") from error
    if parts.scheme not in ("http", "https") or not host:
        raise Misconfigured(f"the upstream {name} needs an http or https URL")
    if parts.username is not None or parts.password is not None or parts.fragment or parts.query:
        raise Misconfigured(f"the URL of the upstream {name} has no user, password, query or fragment")
    if parts.scheme == "http" and not plain_http and not _is_here(host):
        raise Misconfigured(
            f"the upstream {name} is plain http to another machine: what is sent could be read on the way",
            next_step="Use https, or declare plain_http=True where the network is trusted.",
        )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
