"""What is told of an attempt at a model: metrics of all, and a span where the call keeps spans.

Names and values of spans are OpenTelemetry's for generative AI, which are still in development.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from ...core.clock import Clock
from ...core.context import Context
from ...core.errors import StanchionError
from ...core.telemetry.semconv import Key
from ...core.telemetry.spans import SpanRecorder, Value
from ..contract.calls import Shape, Usage
from ..contract.specs import Kind
from ..prompts.calls import PROMPT
from .asked import Asked
from .choosing import Candidate
from .metering import Meter
from .served import Served

_PICO = 10**12
_OPERATIONS: Mapping[Shape, str] = {
    "chat": "chat",
    "completions": "text_completion",
    "responses": "chat",
    "embeddings": "embeddings",
    "rerank": "rerank",
    "messages": "chat",
}
# Where the convention has a name for the provider; else the kind of upstream says as much.
_PROVIDERS: Mapping[Kind, str] = {
    "azure": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
}


class Observing:
    """Watches attempts. `spans` is None where none are kept, `meter` where nothing is counted."""

    def __init__(self, clock: Clock, spans: SpanRecorder | None = None, meter: Meter | None = None) -> None:
        self.clock = clock
        self.spans = spans
        self.meter = meter

    def begin(self, ctx: Context, asked: Asked, candidate: Candidate) -> Observed:
        """An attempt begins now."""
        if self.spans is None or not ctx.trace.sampled:
            return Observed(self, ctx, candidate.served, None)
        block = self.spans.span(ctx, *_about(asked, candidate))
        return Observed(self, block.__enter__(), candidate.served, block)


class Observed:
    """One attempt under way. `ctx` belongs inside: what is sent with it is below the attempt's span."""

    __slots__ = ("_block", "_by", "_served", "_started", "ctx")

    def __init__(
        self, by: Observing, ctx: Context, served: Served, block: AbstractContextManager[Context] | None
    ) -> None:
        self.ctx = ctx
        self._by = by
        self._served = served
        self._block = block
        self._started = by.clock.monotonic()

    @property
    def seconds(self) -> float:
        """How long ago it began."""
        return self._by.clock.monotonic() - self._started

    def answered(self) -> None:
        """The first event of a stream is there."""
        seconds = self.seconds
        self._served.first_token.add(seconds * 1000)
        if self._by.meter is not None:
            self._by.meter.began(self._served.spec.name, seconds)

    def end(self, usage: Usage, cost: int, error: BaseException | None) -> None:
        """Tell what was used, at what cost in picodollars, and what ended the attempt if it failed."""
        if self._by.meter is not None:
            self._by.meter.ended(self._served.spec.name, outcome_of(error), self.seconds, usage, cost)
        if self._by.spans is None or self._block is None:
            return
        used: dict[str, Value] = {Key.TOKENS_IN: usage.tokens_in, Key.TOKENS_OUT: usage.tokens_out}
        self._by.spans.annotate(self.ctx, {**used, Key.COST: cost / _PICO})
        if error is None:
            self._block.__exit__(None, None, None)
        else:
            # The error goes on where it was caught; here it only names the end.
            self._block.__exit__(type(error), error, error.__traceback__)


def outcome_of(error: BaseException | None) -> str:
    """`ok`, or the code of what ended an attempt."""
    if error is None:
        return "ok"
    return error.code if isinstance(error, StanchionError) else "cancelled"


def _about(asked: Asked, candidate: Candidate) -> tuple[str, dict[str, Value]]:
    """The name of the attempt's span, and what it says from the beginning."""
    operation, served = _OPERATIONS[asked.ask.shape], candidate.served
    about: dict[str, Value] = {
        Key.OPERATION: operation,
        Key.PROVIDER: _PROVIDERS.get(served.upstream.kind, served.upstream.kind),
        Key.REQUEST_MODEL: served.model,
        Key.RESOURCE: served.upstream.name,
    }
    if prompt := asked.ask.tags.get(PROMPT):
        about[Key.PROMPT] = prompt
    return f"{operation} {served.model}", about
