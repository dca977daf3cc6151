"""`stanchion mesh init`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.clock import SystemClock
from ...core.security.identity import Authority
from .office import DONE, Options, run, show, table


def made(names: Sequence[str], *, folder: Path, domain: str, data: Path, json: bool) -> int:
    """Make the authority and the certificates; existing ones are never replaced."""
    options = Options(data=data, json=json)

    async def work() -> int:
        now = SystemClock().now()
        authority = Authority.load_or_create(folder, domain, now=now)
        issued = {name: authority.issue(folder, name, now=now) for name in names}
        rows = [
            {
                "identity": f"spiffe://{domain}/{name}",
                "certificate": str(files.certificate),
                "key": str(files.key),
                "authority": str(files.authority),
            }
            for name, files in issued.items()
        ]
        head = ("IDENTITY", "CERTIFICATE", "KEY", "AUTHORITY")
        show(options, rows, lambda: table(head, [tuple(row.values()) for row in rows]))
        return DONE

    return run(options, work)
