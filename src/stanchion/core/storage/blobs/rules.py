"""What holds for every blob engine: the shape of names."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import InvalidInput, NotFound

NAME_CHARACTERS = 512
PART_CHARACTERS = 240
_NAME = re.compile(r"[A-Za-z0-9._\-/=]+", re.ASCII)


def check_name(name: str) -> str:
    """The name. Raises InvalidInput if it is not one that every engine can hold."""
    if len(name) > NAME_CHARACTERS or not _NAME.fullmatch(name):
        raise InvalidInput(f"a blob's name must be 1 to {NAME_CHARACTERS} characters of A-Z a-z 0-9 . _ - / =")
    if any(part in ("", ".", "..") or len(part) > PART_CHARACTERS for part in name.split("/")):
        raise InvalidInput(f"each part of a blob's name must be 1 to {PART_CHARACTERS} characters and not . or ..")
    return name


class Prefix(NamedTuple):
    """A prefix of names, cut at its last slash: `folder` has no slash at its end."""

    folder: str
    start: str


def cut(prefix: str) -> Prefix | None:
    """The prefix in its two parts, or None if no name can begin with it."""
    folder, _, start = prefix.rpartition("/")
    sound = not folder or (_NAME.fullmatch(folder) and all(p not in ("", ".", "..") for p in folder.split("/")))
    return Prefix(folder, start) if sound and not prefix.startswith("/") else None


def check_chunk(chunk: int) -> int:
    """The size of a piece. Raises InvalidInput if it is less than one byte."""
    if chunk < 1:
        raise InvalidInput("a piece must hold at least one byte")
    return chunk


def missing(name: str) -> NotFound:
    return NotFound(f"no blob is named {name}")
