"""Pipelines without a house, for tests: declarations on their own, and a service over any database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from stanchion.core.clock import Clock
from stanchion.core.module import Parts, load
from stanchion.core.storage import Blobs, Database
from stanchion.system.handles import Bound
from stanchion.system.pipelines import PipelineDeclarations

H = TypeVar("H", bound=Bound)


class Declared(PipelineDeclarations):
    """Declares stages and pipelines as a System does."""

    def __init__(self) -> None:
        self._handles: dict[str, Bound] = {}

    def _keep(self, handle: H) -> H:
        assert handle.name not in self._handles, f"{handle.name} is declared twice"
        self._handles[handle.name] = handle
        return handle

    def all(self) -> Sequence[object]:
        """Every declaration."""
        return [spec for handle in self._handles.values() for spec in handle.specs()]


async def pipeline_service(
    database: Database,
    blobs: Blobs,
    declared: Declared,
    *,
    clock: Clock,
    tenant: str = "acme",
    work: bool = True,
    queues: Sequence[str] = ("*",),
    concurrency: int = 16,
    lease: float = 10.0,
    poll: float = 0.05,
    stalls: int = 200,
    inline: int = 65_536,
) -> Any:
    """The service that a house would build over this database, without its gate; `start` it to work on runs."""
    module = load("pipelines")
    settings = {
        "work": work, "queues": tuple(queues), "concurrency": concurrency, "lease_seconds": lease,
        "poll_seconds": poll, "stalls": stalls, "inline_bytes": inline, "keep_days": 30,
    }  # fmt: skip
    given: dict[str, Any] = {
        "clock": clock, "database": database, "blobs": blobs, "tenant": tenant, "declared": declared.all(),
        "keyvalue": None, "metrics": None, "signer": None, "vault": None, "folder": "", "system_file": "",
        "development": False,
    }  # fmt: skip
    return await module.build(Parts(**given), module.settings.model_validate(settings))
