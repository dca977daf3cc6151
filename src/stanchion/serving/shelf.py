"""Which version answers which reference: the declared models' present ones, and others on demand."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ..core.clock import Clock
from ..core.context import Context, system_context
from ..core.errors import InvalidInput, NotFound, NotTrustworthy, StanchionError, Unavailable
from ..registry import ModelVersion, Registry
from .contract import ServedModel, ServedSpec
from .loaded import Engine, Loaded, from_spec, from_version
from .memory import Memory, Resident
from .package import Outcomes, Package, package_of, tensors_of
from .ports import Runtime
from .rungs import Running, warmed
from .tensor_models import built, from_tensors

_REFERENCES = 64
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """`versions` on demand for each tenant, `tenants` with versions on demand, seconds that an answer of the
    registry is taken for true, and seconds that it may take."""

    versions: int = 4
    tenants: int = 8
    fresh_seconds: float = 5.0
    registry_seconds: float = 30.0


@dataclass(slots=True)
class Present:
    """A declared model: what answers now, and why a newer version does not."""

    loaded: Loaded
    fault: str | None = None


@dataclass(slots=True)
class _Tenant:
    """Versions on demand of one tenant, least recently used first, and what its references meant lately."""

    versions: OrderedDict[tuple[str, str], Loaded] = field(default_factory=OrderedDict)
    meanings: dict[str, tuple[Loaded, float]] = field(default_factory=dict)
    locks: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict)


class Shelf:
    """Finds and loads versions. Everything is kept by tenant; the declarations are those of `owner` alone."""

    def __init__(
        self,
        *,
        specs: Sequence[ServedSpec],
        registry: Registry,
        runtime: Runtime,
        engine: Engine,
        owner: str,
        clock: Clock,
        limits: Limits,
        memory: Memory | None = None,
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._registry = registry
        self._runtime = runtime
        self._engine = engine
        self.owner = owner
        self._clock = clock
        self._limits = limits
        self._memory = memory or Memory(clock)
        self._present = {name: Present(from_spec(spec, engine)) for name, spec in self._specs.items()}
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        # By tenant and `name@1.4.0`: what a rollout needs at every moment, whatever is asked for besides.
        self._pinned: dict[tuple[str, str], Loaded] = {}

    @property
    def registered(self) -> Sequence[str]:
        """The declared models that are served from registered versions."""
        return [name for name, spec in self._specs.items() if spec.from_registry]

    def ready(self, tenant: str, reference: str) -> Loaded | None:
        """What a declared model's bare name or a pinned version means, with no look at the registry; else None."""
        present = self._present.get(reference) if tenant == self.owner else None
        return self._pinned.get((tenant, reference)) if present is None else present.loaded

    async def hold(self, tenant: str, model: str, versions: frozenset[str]) -> None:
        """Load these versions of the model and keep them at hand, and let go of others that were kept.

        Raises what `find` raises; what could be loaded is kept all the same.
        """
        wanted = {f"{model}@{version}" for version in versions}
        for key in [key for key in self._pinned if key[0] == tenant and key[1].partition("@")[0] == model]:
            if key[1] not in wanted:
                former = self._pinned.pop(key)
                if all(former is not each for each in self._of(tenant).versions.values()):
                    self._let_go(former)
        for reference in sorted(wanted):
            if (tenant, reference) not in self._pinned:
                self._pinned[tenant, reference] = await self.find(tenant, reference)

    async def find(self, tenant: str, reference: str) -> Loaded:
        """What any reference means. Raises NotFound, InvalidInput, NotTrustworthy, Unavailable."""
        ready = self.ready(tenant, reference)
        if ready is not None:
            return ready
        held = self._of(tenant)
        known = held.meanings.get(reference)
        if known is not None and self._clock.monotonic() < known[1]:
            return known[0]
        try:
            version = await self._resolved(tenant, reference)
        except Unavailable:
            if known is None:
                raise
            # The registry is away: what the reference meant last is better than no answer.
            return known[0]
        loaded = await self._loaded(tenant, held, version)
        if len(held.meanings) >= _REFERENCES:
            held.meanings.clear()
        held.meanings[reference] = (loaded, self._clock.monotonic() + self._limits.fresh_seconds)
        return loaded

    def statuses(self, tenant: str) -> Sequence[ServedModel]:
        """What is served to the tenant, by name: declared models, and those it has asked for lately."""
        found = {}
        held = self._tenants.get(tenant)
        for loaded in held.versions.values() if held is not None else ():
            found[loaded.model] = loaded.status()
        if tenant == self.owner:
            found |= {name: present.loaded.status(present.fault) for name, present in self._present.items()}
        return [found[name] for name in sorted(found)]

    def held(self, tenant: str) -> Sequence[tuple[Loaded, str | None]]:
        """What is served to the tenant, by name and version, each with the reason why a newer one is not."""
        held = self._tenants.get(tenant)
        found: dict[tuple[str, str], tuple[Loaded, str | None]] = {}
        for loaded in held.versions.values() if held is not None else ():
            found[loaded.model, loaded.version] = (loaded, None)
        for present in self._present.values() if tenant == self.owner else ():
            found[present.loaded.model, present.loaded.version] = (present.loaded, present.fault)
        return [found[key] for key in sorted(found)]

    def status(self, tenant: str, loaded: Loaded) -> ServedModel:
        """One served model, with its fault if it is a declared one."""
        present = self._present.get(loaded.model) if tenant == self.owner else None
        return loaded.status(present.fault if present is not None and present.loaded is loaded else None)

    async def refresh(self, name: str) -> bool:
        """Take the present version of a declared model into service; whether that was possible.

        The new version is loaded and run beside the old one, then one reference is swapped: calls under way
        end on the version they began with. A version that cannot be loaded leaves the old one serving.
        """
        present = self._present[name]
        try:
            version = await self._resolved(self.owner, name)
            if version.manifest_sha256 != present.loaded.manifest:
                former, present.loaded = present.loaded, await self._at_hand(name, version)
                self._let_go(former)
                log.info("%s serves version %s", name, version.version)
            elif version.stage != present.loaded.stage:
                present.loaded = replace(present.loaded, stage=version.stage)
            present.fault = None
        except NotFound:
            present.fault = None
            if present.loaded.manifest:
                former, present.loaded = present.loaded, from_spec(self._specs[name], self._engine)
                self._let_go(former)
        except StanchionError as error:
            fault = f"{error.code}: {error.detail}"
            if fault != present.fault:
                log.warning("%s stays at version %s: %s", name, present.loaded.version, fault)
            present.fault = fault
            return False
        return True

    def forget(self, model: str) -> None:
        """Ask the registry anew what the owner's references to this model mean."""
        held = self._tenants.get(self.owner)
        if held is not None:
            held.meanings = {
                reference: meaning
                for reference, meaning in held.meanings.items()
                if reference.partition("@")[0] != model
            }

    def _of(self, tenant: str) -> _Tenant:
        held = self._tenants.setdefault(tenant, _Tenant())
        self._tenants.move_to_end(tenant)
        while len(self._tenants) > self._limits.tenants:
            for loaded in self._tenants.popitem(last=False)[1].versions.values():
                self._let_go(loaded)
        return held

    def _let_go(self, loaded: Loaded) -> None:
        """Its graphs are needed no more, unless it serves under another reference."""
        others = [*(each.loaded for each in self._present.values()), *self._pinned.values()]
        if loaded.resident is not None and not any(loaded.resident is each.resident for each in others):
            self._memory.forget(loaded.resident)

    async def _at_hand(self, name: str, version: ModelVersion) -> Loaded:
        """The owner's version: the pinned one if there is, so that a rollout's end is a swap and no load."""
        pinned = self._pinned.get((self.owner, f"{name}@{version.version}"))
        if pinned is not None and pinned.manifest == version.manifest_sha256:
            return replace(pinned, stage=version.stage)
        return await self._load(self.owner, version)

    def _context(self, tenant: str) -> Context:
        # The registry is asked as the system itself: a caller that may predict need not be one that may read models.
        ctx = system_context(tenant, task="serving")
        return ctx.until(self._clock.monotonic() + self._limits.registry_seconds)

    async def _resolved(self, tenant: str, reference: str) -> ModelVersion:
        return await self._registry.resolve(self._context(tenant), reference)

    async def _loaded(self, tenant: str, held: _Tenant, version: ModelVersion) -> Loaded:
        key = (version.model, version.manifest_sha256)
        present = self._present.get(version.model) if tenant == self.owner else None
        if present is not None and present.loaded.manifest == version.manifest_sha256:
            return present.loaded
        # One load for all who wait for the same version.
        async with held.locks.setdefault(key, asyncio.Lock()):
            loaded = held.versions.get(key)
            if loaded is None:
                loaded = held.versions[key] = await self._load(tenant, version)
        held.locks.pop(key, None)
        if key in held.versions:
            held.versions.move_to_end(key)
        while len(held.versions) > self._limits.versions:
            (model, manifest), former = held.versions.popitem(last=False)
            self._let_go(former)
            log.info("version %s of %s is no longer held for its tenant", manifest[:12], model)
            held.meanings = {r: m for r, m in held.meanings.items() if m[0].manifest != manifest}
        return loaded

    async def _load(self, tenant: str, version: ModelVersion) -> Loaded:
        """The version, ready to answer. Raises NotTrustworthy, and Unavailable for all else that prevents it."""
        spec = self._specs.get(version.model) if tenant == self.owner else None
        try:
            layout = tensors_of(version)
            if layout is not None:
                fetch = partial(self._contents, tenant, version, layout.rungs)
                graphs = Resident(
                    version.model, self._memory, fetch=fetch, build=partial(built, self._runtime, version, layout)
                )
                return from_tensors(version, graphs, await graphs.back(), self._engine, spec)
            package = package_of(version)
            fetch = partial(self._contents, tenant, version, package.rungs)
            resident = Resident(version.model, self._memory, fetch=fetch, build=partial(self._running, package))
            loaded = from_version(version, package, resident, await resident.back(), self._engine, spec)
            if loaded.declared is not None and loaded.declared.enricher is not None:
                await loaded.declared.enricher.verify(tenant)
            return loaded
        except NotTrustworthy:
            raise
        except StanchionError as error:
            raise _unfit(version, error.detail) from error
        # An engine may raise anything over a broken graph; none of it may end the task that follows the registry.
        except Exception as error:
            raise _unfit(version, type(error).__name__) from error

    def _running(self, package: Package, contents: Mapping[str, bytes]) -> Mapping[str, Running]:
        """The graphs of a package by rung, the best first, run warm. Blocks."""
        columns, outcomes, made = len(package.columns), Outcomes(package), {}
        for rung in ("primary", "simple"):
            if rung in contents:
                graph = self._runtime.load(
                    contents[rung], input_name=package.input, output_name=package.output, columns=columns
                )
                made[rung] = Running(graph, warmed(graph, outcomes, columns))
        return made

    async def _contents(self, tenant: str, version: ModelVersion, rungs: Mapping[str, str]) -> Mapping[str, bytes]:
        return {rung: await self._content(tenant, version, file) for rung, file in rungs.items()}

    async def _content(self, tenant: str, version: ModelVersion, name: str) -> bytes:
        """A file of the version. Its digest is checked here too: the registry may be far, and between us a network."""
        digests: Mapping[str, str] = {file.name: file.sha256 for file in version.files}
        if name not in digests:
            raise InvalidInput(f"its metadata names {name}, which is not among its files")
        ctx = self._context(tenant)
        pieces = [piece async for piece in self._registry.artifact(ctx, version.model, version.version, name)]
        content = b"".join(pieces)
        if hashlib.sha256(content).hexdigest() != digests[name]:
            raise NotTrustworthy(f"{name} of {version.model} {version.version} does not match its digest")
        return content


def _unfit(version: ModelVersion, why: str) -> Unavailable:
    return Unavailable(
        f"{version.model} {version.version} cannot be served: {why}",
        next_step="Register a version that can be served, or promote another one.",
    )
