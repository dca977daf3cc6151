"""What Prometheus is told of models: attempts, time, tokens and cost. Labels name models, never a tenant or a key."""

from __future__ import annotations

from ...core.telemetry.metrics import Metrics
from ..contract.calls import Usage

_PICO = 10**12


class Meter:
    """The instruments of a process."""

    def __init__(self, made: Metrics) -> None:
        self._attempts = made.counter(
            "stanchion_gateway_attempts_total",
            "Attempts at a model, by what ended them: ok or the code of an error",
            ("model", "outcome"),
        )
        self._seconds = made.histogram(
            "stanchion_gateway_attempt_seconds", "Time from asking a model to the end of its answer", ("model",)
        )
        self._first = made.histogram(
            "stanchion_gateway_first_token_seconds",
            "Time from asking a model to the first event of a stream",
            ("model",),
        )
        self._tokens = made.counter(
            "stanchion_gateway_tokens_total", "Tokens that models have read (in) and written (out)", ("model", "side")
        )
        self._cost = made.counter(
            "stanchion_gateway_cost_dollars_total", "What models have cost, US dollars", ("model",)
        )

    def began(self, model: str, seconds: float) -> None:
        """A stream has begun so long after it was asked for."""
        self._first.observe(seconds, model)

    def ended(self, model: str, outcome: str, seconds: float, usage: Usage, cost: int) -> None:
        """An attempt has ended, at that cost in picodollars."""
        self._attempts.inc(model, outcome)
        self._seconds.observe(seconds, model)
        if usage.tokens_in or usage.tokens_out:
            self._tokens.inc(model, "in", by=usage.tokens_in)
            self._tokens.inc(model, "out", by=usage.tokens_out)
        if cost:
            self._cost.inc(model, by=cost / _PICO)
