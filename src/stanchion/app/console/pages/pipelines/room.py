"""What the pages of pipelines share: the door itself and addresses."""

from __future__ import annotations

from urllib.parse import quote

from .....core.errors import NotFound
from .....pipelines import Pipelines
from ...assets import BASE
from ...shell import Shell

HOME = f"{BASE}/pipelines"


def door(shell: Shell) -> Pipelines:
    """The pipelines. Raises NotFound where the system has none."""
    if shell.doors.pipelines is None:
        raise NotFound("no pipeline is part of this system", next_step="Declare one in system.py.")
    return shell.doors.pipelines


def address(run: str) -> str:
    """The page of a run."""
    return f"{HOME}/runs/{quote(run, safe='')}"


def pipeline_address(name: str) -> str:
    """The page of a declared pipeline."""
    return f"{HOME}/declared/{quote(name, safe='')}"
