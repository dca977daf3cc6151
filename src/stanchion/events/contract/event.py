"""What has happened, as everybody tells it: an event of CloudEvents 1.0, and who brought it about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from ...core.context import Sensitivity, new_request_id
from ...core.errors import InvalidInput

Value: TypeAlias = str | int | bool
"""What an extension may hold; CloudEvents' other types travel as their text."""

JSON = "application/json"
PARTITION_KEY = "partitionkey"
PRIORITY = "priority"
EXPIRY = "expirytime"
CORRELATION = "correlationid"
CAUSATION = "causationid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact, as CloudEvents 1.0 (cloudevents.io) has it. `source` and `id` together name it, for ever.

    `subject`, `schema` (its `dataschema`) and `time` are optional: empty, empty, None. `data` are bytes of
    `content_type`, at most 1 MB; None is no data. Extensions have names of lower-case letters and digits. Of them
    `partitionkey` says which events keep their order among each other, `priority` is `high`, `normal` or `low`,
    and after `expirytime` (RFC 3339) nobody is given the event any more.
    """

    type: str
    source: str
    id: str = field(default_factory=new_request_id)
    subject: str = ""
    time: datetime | None = None
    data: bytes | None = None
    content_type: str = JSON
    schema: str = ""
    extensions: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, source: str, value: object, *, subject: str = "", **extensions: Value) -> Event:
        """An event of type `kind` whose data are `value` as JSON: what msgspec can write, or a pydantic model."""
        return cls(type=kind, source=source, data=as_json(value), subject=subject, extensions=extensions)

    @property
    def key(self) -> str:
        """Events of one tenant with the same key keep their order: `partitionkey`, else subject, else the id."""
        given = self.extensions.get(PARTITION_KEY) if self.extensions else None
        return str(given) if given is not None else self.subject or self.id

    def json(self) -> Any:
        """The data read as JSON; None where there are none. Raises InvalidInput if they are something else."""
        if self.data is None:
            return None
        try:
            return msgspec.json.decode(self.data)
        except msgspec.DecodeError as error:
            raise InvalidInput(f"the data of event {self.id} are no JSON: {error}") from error

    def extended(self, **extensions: Value) -> Event:
        """This event with extensions added or replaced."""
        return replace(self, extensions={**self.extensions, **extensions})


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who brought the event about, and what for: the caller of `publish`, as its Context said.

    A handler acts with these rights and no others. `correlation` is shared by an event and all its consequences,
    `causation` is the id of the event that led to this one (empty: none). `inner` tells that a module of the house
    staged it in the transaction of a change, so that no caller can have made it up.
    """

    tenant: str
    principal: str
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    limit: frozenset[str] | None = None
    labels: frozenset[Sensitivity] = frozenset()
    trace_id: str = ""
    span_id: str = ""
    sampled: bool = False
    correlation: str = ""
    causation: str = ""
    inner: bool = False


def as_json(value: object) -> bytes:
    """The value as JSON text. Raises InvalidInput for one that JSON cannot hold."""
    written = getattr(value, "model_dump_json", None)
    if written is not None:
        return str(written()).encode()
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"the value cannot be written as JSON: {error}") from error
