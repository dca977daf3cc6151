"""What a module is to the house: a name, a contract, settings and a way to build it from its parts.

A module is loaded by name (`stanchion.<name>.module`) only where it is placed, so a process never loads the
engines of modules that live elsewhere.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict

from .errors import Misconfigured

if TYPE_CHECKING:
    from .clock import Clock
    from .http import Routes
    from .rpc import RpcService
    from .security.signing import Signer
    from .security.vault import Vault
    from .storage import Blobs, Database, KeyValue, Schema
    from .telemetry.metrics import Metrics
    from .telemetry.spans import SpanRecorder

T = TypeVar("T")


class Settings(BaseModel):
    """Base of a module's settings: unknown keys are refused, values cannot change after start."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Parts:
    """All that a module is built from. `doors` holds the gated neighbours it needs and wants, near or far.

    `declared` are the declarations of `system.py` that are of the module's own declaration types.
    `spans` records what a module does of its own accord; what callers ask for the gate records.
    """

    clock: Clock
    database: Database
    keyvalue: KeyValue
    blobs: Blobs
    metrics: Metrics
    signer: Signer
    vault: Vault
    folder: str
    system_file: str
    development: bool
    tenant: str
    doors: Mapping[type[Any], object] = field(default_factory=dict)
    declared: Sequence[object] = ()
    spans: SpanRecorder | None = None

    def door(self, contract: type[T]) -> T:
        """The neighbour behind a contract named in the module's `needs`."""
        # The assembler fills the mapping by contract, which a type checker cannot follow.
        return cast(T, self.doors[contract])

    def find(self, contract: type[T]) -> T | None:
        """The neighbour behind a contract named in the module's `wants`, or None where this system has none."""
        return self.door(contract) if contract in self.doors else None


@dataclass(frozen=True, slots=True)
class Module:
    """One room: what it is called, what it offers, what it needs, and how it is built.

    It is not built without what it `needs`; what it `wants` it gets where the system has it.
    `declares` names the declaration types it takes from `system.py`. `routes` gives its HTTP routes; they
    see the gated contract only, as does its gRPC service `rpc`, which is also told how to ask whether this process
    is ready. `document` tells what declarations add to the OpenAPI document. `schema` is brought up to date before
    `build` is called.
    """

    name: str
    contract: type[Any]
    build: Callable[[Parts, Any], Awaitable[Any]]
    settings: type[Settings] = Settings
    needs: tuple[type[Any], ...] = ()
    wants: tuple[type[Any], ...] = ()
    declares: tuple[type[Any], ...] = ()
    schema: Callable[[], Schema] | None = None
    routes: Callable[[Any], Routes] | None = None
    rpc: Callable[[Any, Callable[[], bool]], RpcService] | None = None
    document: Callable[[Sequence[object]], Routes] | None = None


def load(name: str) -> Module:
    """The module of that name. Raises Misconfigured if there is none."""
    try:
        found = importlib.import_module(f"stanchion.{name}.module")
    except ModuleNotFoundError as error:
        if error.name not in (f"stanchion.{name}", f"stanchion.{name}.module"):
            raise Misconfigured(f"module {name} needs a library that is not installed: {error.name}") from error
        raise Misconfigured(f"there is no module {name!r}") from error
    module = getattr(found, "MODULE", None)
    if not isinstance(module, Module):
        raise Misconfigured(f"stanchion.{name}.module does not offer a MODULE")
    return module
