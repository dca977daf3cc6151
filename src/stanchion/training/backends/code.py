"""Which code trained a model: the git commit of the system file, or its digest."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

_SECONDS = 5.0


async def code_version(system_file: Path) -> str:
    """`git:COMMIT`, with `+` and a digest of the file if its folder has uncommitted changes, else `sha256:DIGEST`."""
    digest = hashlib.sha256(await asyncio.to_thread(system_file.read_bytes)).hexdigest()
    folder = str(system_file.parent)
    commit = await _git(folder, "rev-parse", "HEAD")
    # A tree that does not hold the file, such as a home folder under git, says nothing about it.
    if not commit or not await _git(folder, "ls-files", "--", system_file.name):
        return f"sha256:{digest}"
    changed = await _git(folder, "status", "--porcelain", "--", ".")
    return f"git:{commit}+{digest[:12]}" if changed else f"git:{commit}"


async def _git(folder: str, *arguments: str) -> str:
    """What git prints, or nothing where it is absent, fails or takes too long."""
    program = shutil.which("git")
    if program is None:
        return ""
    process = await asyncio.create_subprocess_exec(
        program, "-C", folder, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    try:
        async with asyncio.timeout(_SECONDS):
            out, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            process.kill()
    return out.decode(errors="replace").strip() if process.returncode == 0 else ""
