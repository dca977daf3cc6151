"""What answers for a declaration that is neither trained here nor one function: another server, or other models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

from ..core.clock import Clock
from ..core.context import Context
from ..core.errors import InvalidInput, Misconfigured, Unavailable
from ..core.resilience import Ladder, Rung
from .contract import ServedSpec
from .contract.graphs import Chain, Ensemble, Switch
from .contract.layouts import Layout, TensorInput, TensorOutput
from .contract.sources import Endpoint, Remote
from .contract.tensors import TensorSpec
from .drill.faults import Faults
from .graphs.chain import chain_call
from .graphs.ensemble import ensemble_call
from .graphs.nested import Nested
from .graphs.switch import switch_call
from .pool import Pool
from .ports import Tensors
from .rungs import Answers, Batch, Call, watched
from .tensors.fields import Fields
from .tensors.ladder import Arrays, Asked, TensorLadder

if TYPE_CHECKING:
    from .backends.outside import Outside

Secrets = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Origin:
    """The first rung of such a declaration, its kind, and the far model where it takes tensors as they are."""

    kind: str
    call: Call
    tensors: Tensors | None = None


class Sources:
    """Makes first rungs, and holds the connections that they need."""

    def __init__(self, *, clock: Clock, pool: Pool, secrets: Secrets | None, nested: Nested) -> None:
        self._clock = clock
        self._pool = pool
        self._secrets = secrets or _no_secrets
        self._nested = nested
        self._connections: list[Outside] = []

    def origin(self, spec: ServedSpec) -> Origin:
        """What answers for the declaration. Raises Misconfigured, InvalidInput."""
        match spec.source:
            case Remote():
                return self._remote(spec, spec.source)
            case Endpoint():
                from .backends.endpoint import EndpointModel

                model = EndpointModel(spec, spec.source, self._outside(spec.source))
                return Origin("http", model.predict)
            case Ensemble():
                return Origin("ensemble", ensemble_call(spec, spec.source, self._nested))
            case Chain():
                return Origin("chain", chain_call(spec, spec.source, self._nested, self._pool))
            case Switch():
                return Origin("switch", switch_call(spec, spec.source, self._nested))
            case None:
                raise Misconfigured(f"{spec.name} declares no source")
            case _:
                assert_never(spec.source)

    async def close(self) -> None:
        """Close all connections."""
        for each in self._connections:
            await each.close()

    def _outside(self, source: Remote | Endpoint) -> Outside:
        from .backends.outside import Outside

        self._connections.append(Outside(source, clock=self._clock, secrets=self._secrets))
        return self._connections[-1]

    def _remote(self, spec: ServedSpec, remote: Remote) -> Origin:
        from .backends.remote import RemoteTensors
        from .tensors.layout import Laid, row_shape

        schemas = (spec.input.model_json_schema(), spec.output.model_json_schema(mode="serialization"))
        layout = remote.layout or by_field(spec.name, *schemas)
        inputs = [TensorSpec(each.name, each.datatype, (-1, *row_shape(each))) for each in layout.inputs]
        outputs = [TensorSpec(each.name, "FP32", (-1,)) for each in layout.outputs]
        laid, far = Laid(layout, *schemas, inputs, outputs), RemoteTensors(remote, self._outside(remote))

        async def call(ctx: Context, items: Batch) -> Answers:
            plain = [item.model_dump(mode="json") for item in items]
            arrays = await self._pool.run(laid.arrays, plain) if laid.heavy else laid.arrays(plain)
            try:
                return laid.answers(await far.infer(ctx, arrays, laid.wanted), len(items))
            except InvalidInput as error:
                # The instance fits the declared type, so the caller cannot correct what the server refused.
                raise Unavailable(error.detail) from error

        return Origin("remote", call, far)


def far_ladder(
    model: str, tensors: Tensors, primary: Rung[Any, Any], *, clock: Clock, faults: Faults, limit: float
) -> TensorLadder:
    """A far model's tensors as they are, under the breaker of its first rung."""

    async def run(ctx: Context, asked: Asked) -> Arrays:
        return await tensors.infer(ctx, asked.inputs, asked.outputs)

    call = watched(model, primary.name, run, faults=faults, limit=limit)
    rung = Rung(name=primary.name, call=call, timeout=limit, breaker=primary.breaker)
    return TensorLadder(tensors.signature, Ladder([rung], clock=clock), "remote", tensors.ready)


def by_field(name: str, input_schema: Mapping[str, Any], output_schema: Mapping[str, Any]) -> Layout:
    """One tensor for each field, as a server of fields has them. Raises Misconfigured for a list or an object."""
    fields = Fields(input_schema, output_schema)
    strange = fields.structured
    if strange:
        raise Misconfigured(f"the fields {', '.join(strange)} of {name} are no single values: declare a layout")
    return Layout(
        tuple(_filled(each) for each in fields.inputs),
        tuple(TensorOutput(each.name, each.name) for each in fields.outputs),
    )


def _filled(spec: TensorSpec) -> TensorInput:
    text = spec.datatype == "BYTES"
    return TensorInput(spec.name, (spec.name,), kind="text" if text else "number", datatype=spec.datatype)


async def _no_secrets(reference: str) -> str:
    raise Misconfigured(f"the secret reference {reference!r} cannot be read here")
