"""The type of plain JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Json: TypeAlias = str | int | float | bool | list["Json"] | dict[str, "Json"] | None
else:
    # Codecs that read types at run time cannot follow a recursive alias; any JSON value is what it means.
    Json = Any
