"""What one `system.py` declares, as plain data that modules and their worker processes can read."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from .errors import Misconfigured

T = TypeVar("T")
_MODULE = "stanchion_system_file"


class Declarations:
    """An ordered list of declarations under a system's name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._items: list[object] = []

    def add(self, item: object) -> None:
        """Append a declaration."""
        self._items.append(item)

    def all(self) -> Sequence[object]:
        """Every declaration, in the order of the file."""
        return tuple(self._items)

    def of(self, kind: type[T]) -> Sequence[T]:
        """The declarations of one type, in the order of the file."""
        return [item for item in self.all() if isinstance(item, kind)]


def load_declarations(path: Path | str) -> Declarations:
    """Run a system file and give the one system it declares. Raises Misconfigured if there is none or several.

    The file's folder is importable while and after it runs, as for a script.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise Misconfigured(f"there is no system file at {path}", next_step="Name an existing system.py.")
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(_MODULE, file)
    if spec is None or spec.loader is None:
        raise Misconfigured(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Misconfigured(
            f"{path} could not be run: {type(error).__name__}: {error}", next_step="Correct the system file."
        ) from error
    found = {id(value): value for value in vars(module).values() if isinstance(value, Declarations)}
    if len(found) != 1:
        raise Misconfigured(
            f"{path} declares {len(found)} systems; it must make exactly one System",
            next_step='Declare it with `app = System("name")`, once.',
        )
    return next(iter(found.values()))
