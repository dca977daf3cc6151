"""`stanchion models ...`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from ...core.context import Context
from ...core.errors import InvalidInput
from ...registry import ModelVersion, Registry, Stage
from .office import DONE, Options, opened, operator, run, show, table

Work = Callable[[Options, Registry, Context], Awaitable[None]]


def _at_registry(data: Path, json: bool, work: Work) -> int:
    options = Options(data=data, json=json)

    async def whole() -> int:
        async with opened(options, only=("registry",)) as house:
            await work(options, house.door(Registry), operator(house.settings.tenant))
        return DONE

    return run(options, whole)


def listed(*, data: Path, json: bool) -> int:
    """Print every model."""

    async def work(options: Options, registry: Registry, ctx: Context) -> None:
        models = await registry.models(ctx)
        rows = [(m.model, m.versions, m.latest, m.production, f"{m.updated_at:%Y-%m-%d %H:%M}") for m in models]
        head = ("MODEL", "VERSIONS", "LATEST", "PRODUCTION", "UPDATED")
        show(options, [asdict(m) for m in models], lambda: table(head, rows) if rows else "There is no model yet.")

    return _at_registry(data, json, work)


def shown(reference: str, *, data: Path, json: bool) -> int:
    """Print one version, whose record and files are checked for it, and the model's other versions."""

    async def work(options: Options, registry: Registry, ctx: Context) -> None:
        version = await registry.resolve(ctx, reference)
        for file in version.files:
            # The registry refuses a content that is not the file's, but only once it is read to its end.
            async for _ in registry.artifact(ctx, version.model, version.version, file.name):
                pass
        versions = await registry.versions(ctx, version.model)
        document = {**asdict(version), "versions": [{"version": v.version, "stage": v.stage} for v in versions]}
        show(options, document, lambda: _described(version, versions))

    return _at_registry(data, json, work)


def _described(version: ModelVersion, versions: object) -> str:
    rows = [
        ("model", version.model),
        ("version", version.version),
        ("stage", version.stage),
        ("aliases", ", ".join(version.aliases)),
        ("format", version.format),
        ("created", f"{version.created_at:%Y-%m-%d %H:%M:%S} by {version.created_by}"),
        ("parent", version.lineage.parent),
        ("data", f"{version.lineage.data_source}, {version.lineage.data_rows:,} rows"),
        ("data sha256", version.lineage.data_sha256),
        ("code", version.lineage.code_version),
        ("manifest sha256", version.manifest_sha256),
        ("signed by", version.key_id),
        *((f"metric {name}", f"{value:.4f}") for name, value in sorted(version.metrics.items())),
        *((f"file {file.name}", f"{file.size:,} bytes  {file.sha256[:16]}") for file in version.files),
    ]
    others = versions if isinstance(versions, list | tuple) else ()
    ladder = "\n".join(f"  {v.version:10} {v.stage}" for v in others)
    return "\n".join(f"{name:18}{value if value else '-'}" for name, value in rows) + f"\n\nversions\n{ladder}"


def promoted(model: str, version: str, *, to: str, evidence: str, data: Path, json: bool) -> int:
    """Ask for a stage change, or decide the pending one."""
    stage: Stage | None = next((s for s in get_args(Stage) if s == to), None)

    async def work(options: Options, registry: Registry, ctx: Context) -> None:
        if stage is None:
            raise InvalidInput(f"{to!r} is no stage", next_step=f"Use one of {', '.join(get_args(Stage))}.")
        done = await registry.promote(ctx, model, version, to=stage, evidence=evidence)
        waits = "waits for a second person to make the same call" if done.status == "pending" else done.status
        show(options, asdict(done), lambda: f"{model} {version} -> {to}: {waits}")

    return _at_registry(data, json, work)


def rolled_back(model: str, *, reason: str, data: Path, json: bool) -> int:
    """Put the former production version back."""

    async def work(options: Options, registry: Registry, ctx: Context) -> None:
        version = await registry.rollback(ctx, model, reason=reason)
        show(options, asdict(version), lambda: f"{model}: {version.version} is in production again")

    return _at_registry(data, json, work)
