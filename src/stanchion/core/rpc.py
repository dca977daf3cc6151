"""What a module offers over gRPC: methods of bytes in and bytes out, each with the caller's Context and ledger row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .context import Context
from .errors import StanchionError

if TYPE_CHECKING:
    from .telemetry.contract import LedgerRow


@dataclass(frozen=True, slots=True)
class RpcMethod:
    """One method of a service.

    `open` needs no credential. Where `refusal` is given the method streams: each message is answered in its turn,
    and one that is refused with what `refusal` makes of the error and that message, so that the stream goes on.
    """

    name: str
    answer: Callable[[Context, LedgerRow, bytes], Awaitable[bytes]]
    open: bool = False
    refusal: Callable[[StanchionError, bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class RpcService:
    """A gRPC service by its full name, such as `inference.GRPCInferenceService`."""

    name: str
    methods: Sequence[RpcMethod]
