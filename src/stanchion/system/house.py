"""A running process: the foundation, the modules placed here, and lines to the modules placed elsewhere."""

from __future__ import annotations

import asyncio
import difflib
import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from ..core.clock import Clock
from ..core.declaration import Declarations
from ..core.errors import Misconfigured, StanchionError
from ..core.flags import Flag
from ..core.module import Module, Parts, Settings, load
from ..core.remote import connect
from ..core.settings import HouseSettings
from ..core.tasks import end_tasks
from .declare import System
from .devkey import development_key
from .foundation import Foundation, lay
from .keys import house_keys
from .mesh import Mesh, open_mesh

T = TypeVar("T")
ORDER = ("events", "pipelines", "review", "data", "gateway", "features", "registry", "training", "serving")
_log = logging.getLogger(__name__)


class House:
    """One process of a system. `open` builds it, `start` begins its background work, `close` ends it all.

    Every service it hands out has passed the gate, or stands for a service that passes one elsewhere.
    """

    def __init__(
        self,
        *,
        settings: HouseSettings,
        folder: Path,
        foundation: Foundation,
        declared: Declarations | None,
        system_file: str,
        mesh: Mesh | None,
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.foundation = foundation
        self.declared = declared
        self.mesh = mesh
        self.modules: dict[str, Module] = {}
        self.distant: dict[str, Module] = {}
        self.draining = False
        self._system_file = system_file
        self._doors: dict[type[Any], object] = dict(foundation.doors)
        self._services: dict[str, Any] = {}
        self._started: list[str] = []
        self._following: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls,
        settings: HouseSettings,
        folder: Path,
        *,
        clock: Clock,
        environment: Mapping[str, str],
        declared: Declarations | None = None,
        system_file: str = "",
        module_settings: Mapping[str, Settings] | None = None,
    ) -> House:
        """Build everything that the settings place in this process.

        Raises Misconfigured, and NotTrustworthy if the audit log contradicts its checkpoints.
        """
        _check_names((*settings.modules.enabled, *settings.place))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = house_keys(folder / "keys", settings.secrets, environment)
        near = {name: load(name) for name in ORDER if name in settings.modules.enabled}
        far = {name: load(name) for name in settings.place}
        contracts = [module.contract for module in (*near.values(), *far.values())]
        flags = () if declared is None else declared.of(Flag)
        foundation = await lay(folder, settings, keys, clock, contracts, flags)
        house = cls(
            settings=settings,
            folder=folder,
            foundation=foundation,
            declared=declared,
            system_file=system_file,
            mesh=open_mesh(settings, clock),
        )
        try:
            house._connect(far)
            await house._build(near, module_settings or {})
        except BaseException:
            await foundation.close()
            raise
        if isinstance(declared, System):
            declared.bind(house)
        return house

    def _connect(self, far: Mapping[str, Module]) -> None:
        if not far:
            return
        if self.mesh is None:
            raise Misconfigured("modules are placed elsewhere, but this process has no mesh identity")
        self.distant = dict(far)
        for name, module in far.items():
            self._doors[module.contract] = connect(name, module.contract, self.mesh.line(self.settings.place[name]))

    async def _build(self, near: Mapping[str, Module], module_settings: Mapping[str, Settings]) -> None:
        for name, module in near.items():
            missing = [contract.__name__ for contract in module.needs if contract not in self._doors]
            if missing:
                raise Misconfigured(
                    f"{name} needs {', '.join(missing)}, which is neither enabled here nor placed elsewhere",
                    next_step=f"Enable it in modules.enabled, or say where it is in [place.{name}].",
                )
            if module.schema is not None:
                await self.foundation.stores.state.prepare(module.schema())
            service = await module.build(self._parts(module), module_settings.get(name, module.settings()))
            self.modules[name] = module
            self._services[name] = service
            self._doors[module.contract] = self.foundation.gate.wrap(module.contract, service)
            if hasattr(service, "enter"):
                # Its own work on behalf of callers passes the gate and stands in the ledger, as theirs does.
                service.enter(self._doors[module.contract], self.foundation.book)

    def _parts(self, module: Module) -> Parts:
        ground = self.foundation
        items = self.declared.all() if self.declared is not None else ()
        return Parts(
            clock=ground.clock,
            database=ground.stores.state,
            keyvalue=ground.stores.keyvalue,
            blobs=ground.stores.blobs,
            metrics=ground.metrics,
            spans=ground.spans,
            signer=ground.keys.signer,
            vault=ground.vault,
            folder=str(self.folder),
            system_file=self._system_file,
            development=self.settings.development,
            tenant=self.settings.tenant,
            doors={c: self._doors[c] for c in (*module.needs, *module.wants) if c in self._doors},
            declared=[item for item in items if isinstance(item, module.declares)],
        )

    def door(self, contract: type[T]) -> T:
        """The gated service behind a contract, near or far. Raises Misconfigured if it is not in this system."""
        if contract not in self._doors:
            raise Misconfigured(f"{contract.__name__} is not part of this process")
        # Filled by contract in `_build` and `_connect`; a type checker cannot follow a mapping by type.
        return cast(T, self._doors[contract])

    def find(self, contract: type[T]) -> T | None:
        """The gated service behind a contract, or None where it is not in this system."""
        return self.door(contract) if contract in self._doors else None

    async def start(self) -> None:
        """Begin background work: ledger, spans, policy refresh, and each module's own."""
        await self.foundation.ledger.start()
        await self.foundation.spans.start()
        await self.foundation.retention.start()
        self._following = [
            asyncio.create_task(self._follow_others(), name="follow"),
            asyncio.create_task(self.foundation.audit.run(), name="checkpoints"),
        ]
        for name, service in self._services.items():
            if hasattr(service, "start"):
                await service.start()
            self._started.append(name)

    async def close(self) -> None:
        """End background work, last module first, flush everything and close."""
        for name in reversed(self._started):
            service = self._services[name]
            if hasattr(service, "stop"):
                await service.stop()
        if self._following:
            await end_tasks(*self._following)
            await self.foundation.retention.stop()
        if self.mesh is not None:
            await self.mesh.close()
        if isinstance(self.declared, System):
            self.declared.bind(None)
        await self.foundation.close()

    async def development_key(self) -> Path:
        """The file that holds this development system's admin key, made if there is none."""
        path = self.folder / "dev.key"
        ground = self.foundation
        await development_key(path, tenant=self.settings.tenant, keys=ground.key_service, verifier=ground.verifier)
        return path

    def faults(self) -> Sequence[str]:
        """Why this process should get no requests; empty when it is ready."""
        found = ["it is shutting down"] if self.draining else []
        if self.foundation.audit.degraded:
            found.append(f"audit log: {self.foundation.audit.degraded}")
        if self.foundation.ledger.full:
            found.append("ledger: its rows cannot be stored")
        return found

    def service_named(self, name: str) -> object:
        """The gated service of a module built here, for the mesh to offer."""
        return self._doors[self.modules[name].contract]

    async def _follow_others(self) -> None:
        """Take in what other processes changed: policies each second, flags each ten; note the use of keys."""
        ground = self.foundation
        for second in itertools.count(1):
            await asyncio.sleep(1)
            try:
                await ground.policies.refresh()
                if second % 10 == 0:
                    await ground.flags.refresh()
                if second % 60 == 0:
                    await ground.verifier.flush()
            except StanchionError as error:
                _log.warning("the changes of other processes could not be taken in: %s", error.detail)


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name not in ORDER:
            near = difflib.get_close_matches(name, ORDER, n=1)
            raise Misconfigured(
                f"there is no module {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
                next_step=f"The modules are {', '.join(ORDER)}.",
            )
