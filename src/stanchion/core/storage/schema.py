"""A module's tables and how they came to be: one linear list of versions for each module.

Version 1 is what `create` makes; every later version is one step. There is one history for each module, not
one for the whole program, so that a process holds only the tables of the modules placed in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.operations import Operations
    from sqlalchemy import MetaData

    Step = Callable[[Operations], None]


@dataclass(frozen=True, slots=True)
class Schema:
    """`metadata` is the newest shape; `steps[i]` leads from version i + 1 to i + 2 by Alembic operations."""

    module: str
    metadata: MetaData
    steps: Sequence[Step] = ()

    @property
    def version(self) -> int:
        """The version that this program needs."""
        return len(self.steps) + 1
