"""`stanchion audit ...`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import msgspec

from ...core.security.contract import Audit, AuditReport
from .office import DONE, FAILED, Options, opened, operator, run, show


def verified(*, data: Path, json: bool) -> int:
    """Verify the log. It is read as it stands: nothing is written, not even the event of reading it."""
    options = Options(data=data, json=json)

    async def work() -> int:
        from .inspection import inspected

        report = await inspected(options)
        show(options, asdict(report), lambda: _told(report))
        return DONE if report.ok else FAILED

    return run(options, work)


def _told(report: AuditReport) -> str:
    head = "the audit log is intact" if report.ok else "THE AUDIT LOG IS NOT INTACT"
    lines = [
        head,
        f"  {report.events:,} events, {report.checkpoints:,} signed checkpoints, {report.covered:,} events covered",
        f"  root {report.root}",
        f"  checked in {report.seconds:.2f} s",
        *(f"  fault: {fault}" for fault in report.faults),
    ]
    return "\n".join(lines)


def exported(*, output: Path | None, after: int, tenant: str | None, data: Path, json: bool) -> int:
    """Write the tenant's events as JSON lines."""
    options = Options(data=data, json=json)

    async def work() -> int:
        count = 0
        async with opened(options, only=()) as house:
            events = house.door(Audit).export(operator(tenant or house.settings.tenant), after=after)
            with output.open("wb") if output is not None else nullcontext(sys.stdout.buffer) as file:
                async for event in events:
                    file.write(msgspec.json.encode(asdict(event)) + b"\n")
                    count += 1
                file.flush()
        if output is not None:
            show(options, {"events": count, "file": str(output)}, lambda: f"{count:,} events written to {output}")
        return DONE

    return run(options, work)


def proved(seq: int, *, tenant: str | None, data: Path, json: bool) -> int:
    """Print an inclusion proof; it is JSON for people as well, since other programs are to check it."""
    options = Options(data=data, json=json)

    async def work() -> int:
        async with opened(options, only=()) as house:
            proof = await house.door(Audit).prove(operator(tenant or house.settings.tenant), seq)
        text = msgspec.json.format(msgspec.json.encode(asdict(proof)), indent=2).decode()
        show(options, asdict(proof), lambda: text)
        return DONE

    return run(options, work)
