"""`stanchion doctor`: every check by itself, so that one fault does not hide another."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ...core.context import system_context
from ...core.errors import StanchionError
from ...core.settings import check_exposure, check_mesh
from .inspection import inspected
from .office import DONE, FAILED, Options, opened, read_settings, run, show

_LEAST_FREE = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `ok`, `warning` or `fault`, and what to do about it."""

    check: str
    state: str
    detail: str
    next_step: str = ""


def examined(file: Path | None, *, data: Path, json: bool) -> int:
    """Run every check; 1 if one found a fault."""
    options = Options(data=data, json=json)

    async def work() -> int:
        findings = [
            _python(),
            _disk(data),
            await _check("settings", lambda: _settings(options)),
            await _check("audit log", lambda: _audit(options)),
            await _check("stores", lambda: _stores(options)),
        ]
        if file is not None:
            findings.append(await _check("system file", lambda: _system(options, file)))
        show(options, [asdict(f) for f in findings], lambda: "\n".join(_line(f) for f in findings))
        return FAILED if any(f.state == "fault" for f in findings) else DONE

    return run(options, work)


async def _check(name: str, work: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await work()
    except StanchionError as error:
        return Finding(name, "fault", error.detail, error.hint)


def _line(finding: Finding) -> str:
    mark = {"ok": "ok     ", "warning": "warning", "fault": "FAULT  "}[finding.state]
    text = f"{mark}  {finding.check:12} {finding.detail}"
    return f"{text}\n         {'':12} next: {finding.next_step}" if finding.next_step else text


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", "ok", found)


def _disk(data: Path) -> Finding:
    place = next(p for p in (data.absolute(), *data.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    state = "ok" if free >= _LEAST_FREE else "warning"
    return Finding(
        "disk", state, f"{free / 2**30:.1f} GiB free for {data}", "" if state == "ok" else "Free some space."
    )


async def _settings(options: Options) -> Finding:
    loaded = read_settings(options)
    check_exposure(loaded.settings)
    check_mesh(loaded.settings)
    changed = sum(1 for origin in loaded.origins if origin.source != "default")
    return Finding("settings", "ok", f"{len(loaded.origins)} settings, {changed} not at their default")


async def _audit(options: Options) -> Finding:
    if not (options.data / "state.db").is_file() and read_settings(options).settings.backend.sql.use == "embedded":
        return Finding("audit log", "ok", "none yet")
    report = await inspected(options)
    if report.ok:
        return Finding("audit log", "ok", f"{report.events:,} events, {report.covered:,} covered by checkpoints")
    return Finding("audit log", "fault", report.faults[0], "Run `stanchion audit verify` for all faults.")


async def _stores(options: Options) -> Finding:
    async with opened(options, only=()) as house:
        stores = house.foundation.stores
        ctx = system_context(house.settings.tenant, task="doctor")
        await stores.state.write(ctx, lambda connection: None)
        await stores.telemetry.write(ctx, lambda connection: None)
        await stores.keyvalue.set({"doctor": b"1"}, ttl=60)
        await stores.blobs.put("doctor/probe", b"1")
        await stores.blobs.delete("doctor/probe")
    return Finding("stores", "ok", "state, telemetry, key-value and blobs take writes")


async def _system(options: Options, file: Path) -> Finding:
    from ...core.declaration import load_declarations

    declared = load_declarations(file)
    return Finding("system file", "ok", f"{declared.name}: {len(declared.all())} declarations")
