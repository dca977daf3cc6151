"""Puts declared models together: each with its ways by shape, and one transport for each upstream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...core.clock import Clock
from ...core.errors import Misconfigured
from ...core.resilience import BreakerView
from ..contract.calls import Shape
from ..contract.money import PriceSpec
from ..contract.specs import Kind, ModelSpec, UpstreamSpec, check_together, native
from ..dialects.anthropic import AnthropicDialect
from ..dialects.bedrock import BedrockDialect
from ..dialects.gemini import GeminiDialect
from ..dialects.openai import OpenAIDialect
from ..ports import Dialect, Form, Transport
from ..wire.chat.form import ChatForm
from ..wire.completions import CompletionsForm
from ..wire.messages.form import MessagesForm
from ..wire.responses.form import ResponsesForm
from .health import Health
from .prices import declared
from .served import Served
from .translating import Translated
from .vectors import EmbeddedByGemini, RankedByTei
from .ways import PassThrough, Way

_HOSTED_OPENAI: frozenset[Kind] = frozenset(("openai", "azure"))


def models_of(
    models: Sequence[ModelSpec],
    upstreams: Sequence[UpstreamSpec],
    *,
    transport: Callable[[UpstreamSpec], Transport],
    clock: Clock,
    on_change: Callable[[BreakerView], None],
    prices: Sequence[PriceSpec] = (),
    health: Mapping[str, Health] | None = None,
) -> dict[str, Served]:
    """Every declared model by name. Raises Misconfigured where a declaration cannot be served."""
    check_together(models, upstreams)
    specs = {spec.name: spec for spec in upstreams}
    transports = {spec.name: transport(spec) for spec in upstreams}
    found: dict[str, Served] = {}
    for model in models:
        if model.name in found:
            raise Misconfigured(f"the model {model.name} is declared twice")
        spec = specs[model.upstream]
        found[model.name] = Served(
            model,
            spec,
            transports[spec.name],
            ways_of(model, spec, clock),
            declared(model, spec, prices),
            clock=clock,
            on_change=on_change,
            health=None if health is None else health[spec.name],
        )
    return found


def ways_of(model: ModelSpec, upstream: UpstreamSpec, clock: Clock) -> dict[Shape, Way]:
    """The shapes that clients may use, and how each travels. Raises Misconfigured for one that cannot be had."""
    name = model.model or model.name
    ways: dict[Shape, Way] = {shape: PassThrough(upstream.kind, shape, name) for shape in native(upstream.kind)}
    dialect = _dialect(model, upstream)
    for shape, form in forms(clock).items() if dialect is not None else ():
        if shape not in ways and dialect is not None:
            ways[shape] = Translated(form, dialect, name)
    if upstream.kind == "gemini":
        ways["embeddings"] = EmbeddedByGemini(name)
    if upstream.kind == "tei":
        ways["rerank"] = RankedByTei(name)
    if not ways:
        raise Misconfigured(f"upstreams of the kind {upstream.kind} cannot be asked yet")
    lacking = sorted(model.shapes - set(ways))
    if lacking:
        raise Misconfigured(
            f"the model {model.name} cannot be asked for {', '.join(lacking)}",
            next_step=f"Its upstream {upstream.name} takes {', '.join(sorted(ways))}.",
        )
    return {shape: way for shape, way in ways.items() if not model.shapes or shape in model.shapes}


def forms(clock: Clock) -> dict[Shape, Form]:
    """The clients' forms of conversations."""
    return {
        "chat": ChatForm(clock),
        "completions": CompletionsForm(clock),
        "responses": ResponsesForm(clock),
        "messages": MessagesForm(),
    }


def _dialect(model: ModelSpec, upstream: UpstreamSpec) -> Dialect | None:
    if upstream.kind in _HOSTED_OPENAI:
        return OpenAIDialect()
    if upstream.kind == "anthropic":
        return AnthropicDialect(most_tokens=model.max_output or 4096)
    if upstream.kind == "gemini":
        return GeminiDialect()
    if upstream.kind == "bedrock":
        return BedrockDialect()
    if "chat" in native(upstream.kind):
        return OpenAIDialect(most_tokens="max_tokens")
    return None
