"""Files that hold key material: made whole or not at all, readable by their owner alone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from ..errors import Misconfigured

_POSIX = os.name == "posix"


def create_private(path: Path, content: bytes) -> bool:
    """Store the content under a name that is free; False if the name is taken.

    Written aside and then linked, so that a killed process leaves no half-written file under the name and
    of two processes exactly one succeeds.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        try:
            path.hardlink_to(aside)
        except FileExistsError:
            return False
    finally:
        aside.unlink()
    if _POSIX:
        _sync_directory(path.parent)
    return True


def read_private(path: Path) -> bytes | None:
    """The content, or None where there is no such file.

    Raises Misconfigured if others than the owner may read or write it.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if _POSIX and mode & 0o077:
        raise Misconfigured(
            f"{path.name} holds key material and is open to others (mode {mode & 0o777:o})",
            next_step=f"Run `chmod 600 {path}`; if others had access, replace the key.",
        )
    return path.read_bytes()


def discard_private(path: Path) -> None:
    """Remove the file, if it is there."""
    path.unlink(missing_ok=True)


def load_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of the file, which is made first if there is none."""
    content = read_private(path)
    while content is None:
        create_private(path, make())
        content = read_private(path)
    return content


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
