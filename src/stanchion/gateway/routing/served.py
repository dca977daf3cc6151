"""One declared model as this process reaches it: its ways by shape, and how it has done of late."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...core.clock import Clock
from ...core.errors import StanchionError
from ...core.resilience import BreakerView, Retry, RetryBudget, RetryRules
from ..contract.calls import Shape
from ..contract.gateway import LanguageModel, RungView
from ..contract.specs import ModelSpec, UpstreamSpec
from ..ports import Price, Transport
from .breaker import ModelBreaker
from .health import Health
from .ways import Way

_WEIGHT = 0.2  # of the newest call in an average
_LONGEST_OUT = 3600.0


class Average:
    """An average in which newer values weigh more; None before the first."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float | None = None

    def add(self, value: float) -> None:
        """Take in one more."""
        self.value = value if self.value is None else self.value + _WEIGHT * (value - self.value)


class Served:
    """A model with the state that all its routes and tenants share.

    Background calls have a state of their own, `behind`: a batch that an upstream turns away keeps the model from no
    live call, and makes it look no worse to them.
    """

    def __init__(
        self,
        spec: ModelSpec,
        upstream: UpstreamSpec,
        transport: Transport,
        ways: Mapping[Shape, Way],
        price: Price | None,
        *,
        clock: Clock,
        on_change: Callable[[BreakerView], None] | None = None,
        health: Health | None = None,
        live: Served | None = None,
    ) -> None:
        self.live = live or self
        self.spec = spec
        self.upstream = upstream
        self.transport = transport
        self.ways = ways
        self.declared_price = price
        self.breaker = ModelBreaker(spec.name, clock=clock, on_change=on_change)
        self.latency = Average()
        self.first_token = Average()
        self.errors = Average()
        self.calls = self.failures = 0
        self._clock = clock
        self._budget = RetryBudget(clock=clock)
        self._out_until = 0.0
        self._health = health
        if live is None:
            self.behind = Served(spec, upstream, transport, ways, price, clock=clock, health=health, live=self)

    @property
    def unwell(self) -> bool:
        """Whether the probes of its upstream fail."""
        return self._health is not None and self._health.ok is False

    @property
    def model(self) -> str:
        """Its name at the upstream."""
        return self.spec.model or self.spec.name

    @property
    def out(self) -> float:
        """Seconds for which the upstream wants to be left alone; 0: it may be asked."""
        until = max(self._out_until, self.live._out_until)
        return max(0.0, until - self._clock.monotonic()) if until else 0.0

    def answered(self, seconds: float) -> None:
        """It gave a whole answer after so long."""
        self.latency.add(seconds * 1000)
        self.errors.add(0.0)
        self.calls += 1

    def failed(self, error: StanchionError) -> None:
        """It gave none. What asks for a pause gets one."""
        self.calls += 1
        self.failures += 1
        self.errors.add(1.0)
        if error.retry_after is not None and error.retry_after > 0:
            self.leave_alone(error.retry_after)

    def leave_alone(self, seconds: float) -> None:
        """Send nothing for so long: the upstream has said when it will take calls again."""
        until = self._clock.monotonic() + min(seconds, _LONGEST_OUT)
        self._out_until = max(self._out_until, until)

    def retry(self, attempts: int) -> Retry:
        """Retries of one call, within the budget that all calls to the model share."""
        return Retry(clock=self._clock, budget=self._budget, rules=RetryRules(attempts=attempts))

    def listed(self) -> LanguageModel:
        """As clients may see it."""
        spec = self.spec
        return LanguageModel(
            name=spec.name,
            shapes=tuple(sorted(self.ways)),
            upstream=self.upstream.name,
            model=self.model,
            on_premises=self.upstream.here,
            context=spec.context,
            max_output=spec.max_output,
        )

    def view(self) -> RungView:
        """Its state now, as live calls meet it; `calls` and `failures` are of all."""
        breaker = self.breaker.snapshot()
        return RungView(
            model=self.spec.name,
            upstream=self.upstream.name,
            breaker=breaker.state,
            share=breaker.share,
            out=self.out,
            calls=self.calls + self.behind.calls,
            failures=self.failures + self.behind.failures,
            latency_ms=self.latency.value,
            first_token_ms=self.first_token.value,
        )
