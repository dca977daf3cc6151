"""Judges a schema against the versions before it, by the rule that its subject has."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import msgspec

from ...core.errors import FieldProblem, InvalidInput
from ..contract.schemas import Clash, Compatibility, SchemaKind, SchemaVersion
from . import avro
from .containment import Containment
from .views import Document, canonical, check

MOST_BYTES = 256 << 10
_MOST_CLASHES = 50


def canonical_text(kind: SchemaKind, text: str, *, trusted: bool = False) -> str:
    """The schema as the one text that is kept. Raises InvalidInput for what is no schema of the kind.

    `trusted` is one that is known to be well-formed: the library that checks that need not be there.
    """
    if len(text) > MOST_BYTES:
        raise InvalidInput(f"a schema has at most {MOST_BYTES} characters")
    if kind == "avro":
        avro.parse(text)
        return canonical(msgspec.json.decode(text))
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"the JSON schema is not JSON: {error}") from error
    if not trusted:
        _well_formed(given)
    check(given)
    return canonical(given)


def _well_formed(schema: object) -> None:
    """Raises InvalidInput where a keyword has a value that it cannot have, with its path."""
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:  # the extra `schemas`; schemas of handlers' own types are made well-formed
        raise InvalidInput(
            "JSON schemas cannot be checked here: the extra `schemas` is not installed",
            next_step="Install stanchion[schemas].",
        ) from error
    fault = next(iter(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema)), None)
    if fault is not None and not _older(fault.absolute_path):
        path = "#" + "".join(f"/{step}" for step in fault.absolute_path)
        raise InvalidInput(
            f"the JSON schema is not valid: {path}: {fault.message[:200]}",
            fields=[FieldProblem(path, fault.message[:200])],
        )


def _older(path: Sequence[str | int]) -> bool:
    """Whether it is a form of an older draft, which is understood: a list of `items`, a Boolean exclusive limit."""
    return bool(path) and path[-1] in ("items", "exclusiveMinimum", "exclusiveMaximum")


def fingerprint(text: str) -> str:
    """SHA-256 of the canonical text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def judged(
    kind: SchemaKind, text: str, earlier: Sequence[SchemaVersion], rule: Compatibility, *, lenient: bool
) -> tuple[Clash, ...]:
    """Every reason why the text may not follow the earlier versions (oldest first); none where it may."""
    if rule == "none" or not earlier:
        return ()
    if earlier[-1].kind != kind:
        words = f"the subject's schemas are {earlier[-1].kind}, and this is {kind}"
        return (Clash("kind_changed", "#", words, earlier[-1].version),)
    against = list(earlier) if rule.endswith("_transitive") else [earlier[-1]]
    base = rule.removesuffix("_transitive")
    found: list[Clash] = []
    for version in reversed(against):
        if base in ("backward", "full"):
            found += _named(_clashes(kind, version.text, text, lenient), version.version, "new")
        if base in ("forward", "full"):
            found += _named(_clashes(kind, text, version.text, lenient), version.version, "old")
    return tuple(found[:_MOST_CLASHES])


def _clashes(kind: SchemaKind, writer: str, reader: str, lenient: bool) -> list[Clash]:
    if kind == "avro":
        return avro.clashes(avro.parse(writer), avro.parse(reader))
    old, new = msgspec.json.decode(writer), msgspec.json.decode(reader)
    return Containment(Document(old), Document(new), lenient=lenient).clashes()


def _named(found: Sequence[Clash], version: int, reads: Literal["new", "old"]) -> list[Clash]:
    return [replace(clash, against=version, reads=reads) for clash in found]
