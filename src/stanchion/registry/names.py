"""What may be said to the registry: names, references, texts and page sizes, and where each is at fault."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..core.errors import FieldProblem, InvalidInput

RESERVED = ("latest", "production", "staging")
TEXT_CHARACTERS = 10_000
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
# Nine digits each: a number of any length would be accepted as a version and then looked up in vain.
_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a caller named: a model, and a version or an alias of it; with neither, the model's default."""

    model: str
    version: str | None = None
    alias: str | None = None

    def __str__(self) -> str:
        chosen = self.version or self.alias
        return self.model if chosen is None else f"{self.model}@{chosen}"


def parse_reference(text: str) -> Reference:
    """`name`, `name@alias` or `name@1.4.0`. Raises InvalidInput."""
    model, at, chosen = text.partition("@")
    check_model(model)
    if not at:
        return Reference(model)
    if _VERSION.fullmatch(chosen):
        return Reference(model, version=chosen)
    if _ALIAS.fullmatch(chosen):
        return Reference(model, alias=chosen)
    raise _fault("$.reference", "after @ stands a version such as 1.4.0, or an alias of at most 64 characters")


def check_model(name: str) -> str:
    """The name of a model. Raises InvalidInput."""
    if not _MODEL.fullmatch(name):
        raise _fault("$.model", "must be 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or digit")
    return name


def check_version(version: str) -> str:
    """A version number. Raises InvalidInput."""
    if not _VERSION.fullmatch(version):
        raise _fault("$.version", "must be three numbers such as 1.4.0")
    return version


def check_alias(alias: str) -> str:
    """An alias that people may set. Raises InvalidInput, for the reserved ones in any case of letters too."""
    if not _ALIAS.fullmatch(alias):
        raise _fault("$.alias", "must be 1 to 64 characters of A-Z a-z 0-9 . _ -, the first a letter")
    if alias.lower() in RESERVED:
        raise _fault("$.alias", f"{alias} is kept by the registry itself: promote a version instead")
    return alias


def check_file(name: str) -> str:
    """The name of a file of a package. Raises InvalidInput."""
    if not _FILE.fullmatch(name):
        raise _fault("$.files", "each name must be 1 to 128 characters of A-Z a-z 0-9 . _ -, the first no mark")
    return name


def check_digest(digest: str, path: str) -> str:
    """A SHA-256 as 64 lower-case hex digits. Raises InvalidInput."""
    if not _DIGEST.fullmatch(digest):
        raise _fault(path, "must be a SHA-256 as 64 lower-case hex digits")
    return digest


def check_text(text: str, path: str, *, needed: bool = False) -> str:
    """Text of a person, without the space around it. Raises InvalidInput if it is too long or not storable."""
    text = text.strip()
    if needed and not text:
        raise _fault(path, "must not be empty")
    if len(text) > TEXT_CHARACTERS:
        raise _fault(path, f"must be at most {TEXT_CHARACTERS} characters")
    # PostgreSQL stores no NUL, and no engine stores a lone surrogate.
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise _fault(path, "must be text without NUL and lone surrogates")
    return text


def check_limit(limit: int) -> int:
    """The size of a page. Raises InvalidInput unless it is 1 to 100."""
    if not 1 <= limit <= 100:
        raise _fault("$.limit", "must be 1 to 100")
    return limit


def _fault(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path.removeprefix('$.')} {message}", fields=[FieldProblem(path, message)])
