"""The rules of training: what may be trained, one at a time, and what is told to the registry."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from ..core.clock import Clock
from ..core.context import Context
from ..core.errors import Misconfigured, NotFound, StanchionError
from ..core.values import Json
from ..features import Features, Service
from ..registry import Draft, Lineage, ModelVersion, Registry
from ..review import Reviews
from .contract import Training, TrainingEvent, TrainingReport, TrainingSpec
from .ports import Job, Package, Spine, Trainer, Workspace
from .sources import Sources

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class TrainingService(Training):
    """Trains the models that one system file declares, for the tenant of that system alone.

    Another tenant finds none of them: the declared data function reads what the system's owner may read.
    """

    def __init__(
        self,
        *,
        specs: Sequence[TrainingSpec],
        registry: Registry,
        features: Features | None = None,
        reviews: Reviews | None = None,
        trainer: Trainer,
        workspace: Workspace,
        system_file: Path,
        code_version: Callable[[], Awaitable[str]],
        tenant: str,
        clock: Clock,
    ) -> None:
        self._specs = {spec.model: spec for spec in specs}
        if len(self._specs) < len(specs) or not all(_NAME.fullmatch(name) for name in self._specs):
            raise Misconfigured(f"model names must be plain and unique: {', '.join(spec.model for spec in specs)}")
        self._registry = registry
        self._features = features
        self._sources = Sources(reviews)
        self._trainer = trainer
        self._workspace = workspace
        self._system_file = system_file
        self._code_version = code_version
        self._tenant = tenant
        self._clock = clock

    async def start(self) -> None:
        """Remove what trainings left that were killed with their process."""
        await asyncio.to_thread(self._workspace.sweep)

    async def stop(self) -> None:
        """Nothing runs on its own: a training ends with the call that asked for it."""

    async def declared(self, ctx: Context) -> Sequence[str]:
        return sorted(self._specs) if ctx.tenant == self._tenant else ()

    async def train(self, ctx: Context, model: str, *, source: str | None = None) -> AsyncIterator[TrainingEvent]:
        spec = self._specs.get(model) if ctx.tenant == self._tenant else None
        if spec is None:
            raise NotFound(f"no training of {model} is declared")
        exact = await self._sources.checked(ctx, source)
        # Read before the fit: the file may be edited while it runs.
        code = await self._code_version()
        service = await self._service(ctx, spec)
        started = self._clock.monotonic()
        with self._workspace.claim(ctx.tenant, model) as folder:
            brought = await self._sources.brought(ctx, exact, folder)
            yield TrainingEvent(
                "started", f"training {model} from {brought.words or source or 'its declared data'}", 0.0
            )
            job = Job(str(self._system_file), model, brought.path, spec.seed, str(folder), brought.words)
            package: Package | None = None

            async def join(spine: Spine) -> str:
                return await self._joined(ctx, spine, folder)

            async with aclosing(self._trainer.run(job, join)) as messages:
                async for message in messages:
                    if isinstance(message, Package):
                        package = message
                    else:
                        yield TrainingEvent(message.stage, message.message, message.fraction)
            if package is None:
                raise StanchionError("the trainer ended without a package")
            if service is not None:
                package = replace(package, metadata={**package.metadata, "features": _pinned(service)})
            if brought.facts:
                package = replace(package, metadata={**package.metadata, "source": dict(brought.facts)})
            report = await self._register(ctx, spec, package, folder, code)
        report = replace(report, seconds=self._clock.monotonic() - started)
        yield TrainingEvent("registered", f"{model} {report.version} is registered", 1.0, report)

    async def _service(self, ctx: Context, spec: TrainingSpec) -> Service | None:
        """The feature service as it is defined now: what the version will be pinned to."""
        if spec.features is None:
            return None
        for service in await self._store().services(ctx):
            if service.name == spec.features:
                return service
        raise NotFound(f"{spec.model} reads the feature service {spec.features!r}, which is not declared")

    async def _joined(self, ctx: Context, spine: Spine, folder: Path) -> str:
        content = await asyncio.to_thread((folder / spine.file).read_bytes)
        target = folder / "joined.arrow"
        pieces = self._store().historical(ctx, spine.service, content, time=spine.time)
        with await asyncio.to_thread(target.open, "wb") as file:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
        return target.name

    def _store(self) -> Features:
        if self._features is None:
            raise Misconfigured(
                "a declared model reads features, but this system has no feature store",
                next_step="Enable the module `features`, or say where it is in [place.features].",
            )
        return self._features

    async def _register(
        self, ctx: Context, spec: TrainingSpec, package: Package, folder: Path, code: str
    ) -> TrainingReport:
        files = await asyncio.to_thread(_contents, folder, package.files)
        present = await self._present(ctx, spec.model)
        version = await self._registry.register(ctx, self._draft(spec, package, present, code), files)
        if ctx.effect is not None:
            ctx.effect.note(version=version.version, roc_auc=package.measures.roc_auc, rows=package.data_rows)
        name = f"{spec.model}-{version.version}.png"
        picture = await asyncio.to_thread(self._workspace.keep, ctx.tenant, name, files[package.picture])
        measures = package.measures
        return TrainingReport(
            model=spec.model,
            version=version.version,
            roc_auc=measures.roc_auc,
            brier=measures.brier,
            log_loss=measures.log_loss,
            base_rate=measures.base_rate,
            train_rows=measures.train_rows,
            test_rows=measures.test_rows,
            parity=measures.parity,
            reliability=measures.reliability,
            simple_roc_auc=measures.simple_roc_auc,
            seconds=0.0,
            picture=str(picture),
        )

    async def _present(self, ctx: Context, model: str) -> ModelVersion | None:
        try:
            return await self._registry.resolve(ctx, model)
        except NotFound:
            return None

    def _draft(self, spec: TrainingSpec, package: Package, present: ModelVersion | None, code: str) -> Draft:
        return Draft(
            model=spec.model,
            format="onnx",
            input_schema=package.input_schema,
            output_schema=package.output_schema,
            metrics=_metrics(package),
            parameters=package.parameters,
            metadata=package.metadata,
            lineage=Lineage(
                data_sha256=package.data_sha256,
                data_rows=package.data_rows,
                data_source=package.data_source,
                code_version=code,
                parent=_parent(package, present, code),
                seed=spec.seed,
            ),
            weights_sha256=package.weights_sha256,
            card=package.card,
        )


def _pinned(service: Service) -> dict[str, Json]:
    return {"service": service.name, "fingerprint": service.fingerprint, "fields": list(service.fields)}


def _parent(package: Package, present: ModelVersion | None, code: str) -> str | None:
    if present is None:
        return None
    # The very same training again must make the very same package, so it may not become its own parent.
    known = (present.weights_sha256, present.lineage.data_sha256, present.lineage.code_version)
    same = known == (package.weights_sha256, package.data_sha256, code)
    return present.lineage.parent if same else present.version


def _metrics(package: Package) -> Mapping[str, float]:
    measures = package.measures
    metrics = {
        "roc_auc": measures.roc_auc,
        "brier": measures.brier,
        "log_loss": measures.log_loss,
        "calibration_error": measures.calibration_error,
        "base_rate": measures.base_rate,
        "parity": measures.parity,
    }
    return metrics if measures.simple_roc_auc is None else {**metrics, "simple_roc_auc": measures.simple_roc_auc}


def _contents(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}
