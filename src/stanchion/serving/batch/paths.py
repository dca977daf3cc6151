"""Which files batch jobs may touch: none, unless the configuration names folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.errors import FieldProblem, InvalidInput

TENANT = "{tenant}"
SUFFIXES = (".parquet", ".csv")


class Folders:
    """The folders of a process. One whose name holds `{tenant}` is the caller's own; any other is the owner's alone.

    Links are followed before a path is judged, so that a link inside a folder leads nowhere else.
    """

    def __init__(self, folders: Sequence[str], *, owner: str) -> None:
        self._folders = tuple(folders)
        self._owner = owner

    def readable(self, tenant: str, path: str, field: str) -> Path:
        """The path of an input. Raises InvalidInput if it is in none of the tenant's folders."""
        return self._within(tenant, path, field)

    def writable(self, tenant: str, path: str, field: str) -> Path:
        """The path of an output, whose folder exists. Raises InvalidInput."""
        found = self._within(tenant, path, field)
        if found.suffix not in SUFFIXES:
            raise _refused(field, f"{found.name} does not end in {' or '.join(SUFFIXES)}")
        if not found.parent.is_dir():
            raise _refused(field, f"there is no folder for {found.name}", "Make the folder first.")
        if found.is_dir():
            raise _refused(field, f"{found.name} is a folder")
        return found

    def _within(self, tenant: str, path: str, field: str) -> Path:
        if not path or "\0" in path or len(path) > 4096 or not Path(path).is_absolute():
            raise _refused(field, "not an absolute path", "Give the whole path, from the root.")
        found = Path(path).resolve()
        if any(found.is_relative_to(folder) for folder in self._of(tenant)):
            return found
        raise _refused(
            field,
            "in none of the folders that batch jobs may use",
            "Name the folder in the setting serving.batch_folders of the process that serves.",
        )

    def _of(self, tenant: str) -> list[Path]:
        mine = [each.replace(TENANT, tenant) for each in self._folders if TENANT in each]
        if tenant == self._owner:
            mine += [each for each in self._folders if TENANT not in each]
        return [Path(each).resolve() for each in mine]


def _refused(field: str, why: str, next_step: str | None = None) -> InvalidInput:
    return InvalidInput(f"{field}: {why}", next_step=next_step, fields=[FieldProblem(f"$.{field}", why)])
