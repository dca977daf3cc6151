"""Job folders on the local disk, guarded by a lock that dies with its holder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import Conflict
from ..ports import Workspace

_PLAIN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class FolderWorkspace(Workspace):
    """Folders under `root`, made when first needed.

    The lock is `flock` on a file beside the folder: the kernel lets go of it when the holder dies, so a folder
    whose lock can be taken is stale. It holds between the processes of one machine, not between machines.
    """

    def __init__(self, root: Path) -> None:
        self._runs = root / "runs"
        self._pictures = root / "pictures"

    @contextmanager
    def claim(self, tenant: str, model: str) -> Iterator[Path]:
        self._runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = _key(tenant, model)
        with _locked(self._runs / f"{key}.lock") as held:
            if not held:
                raise Conflict(
                    f"a training of {model} is running", next_step="Wait until it has ended, then train again."
                )
            folder = self._runs / key
            # Left by a claimant that was killed.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def keep(self, tenant: str, name: str, content: bytes) -> Path:
        folder = self._pictures / (tenant if _PLAIN.fullmatch(tenant) else _key(tenant))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = folder / f".{name}.{os.getpid()}"
        draft.write_bytes(content)
        return draft.rename(folder / name)

    def sweep(self) -> Sequence[str]:
        swept = []
        for folder in sorted(self._runs.glob("*/")) if self._runs.is_dir() else []:
            with _locked(folder.with_suffix(".lock")) as held:
                if held:
                    shutil.rmtree(folder, ignore_errors=True)
                    swept.append(folder.name)
        return swept


def _key(*names: str) -> str:
    # A digest, because a tenant's name may hold what a file name must not.
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:20]


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether the lock was free; if so it is held until the block ends."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
