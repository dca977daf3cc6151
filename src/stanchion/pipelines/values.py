"""How values are kept: as JSON, by their declared types and no others. Nothing stored can name a class or run code."""

from __future__ import annotations

import hashlib
import json
import math
from functools import lru_cache
from typing import Any, Protocol, cast

import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from ..core.context import Budget, Context, Rights, Sensitivity, Trace
from ..core.errors import FieldProblem, InvalidInput, Misconfigured
from ..core.storage import Blobs
from ..core.values import Json
from .ports import RunRow


class Codec(Protocol):
    """One declared type, as JSON text and back."""

    def encode(self, value: Any) -> str:
        """The value as JSON. Raises InvalidInput if it is not of the type."""
        ...

    def decode(self, text: str) -> Any:
        """The value. Raises InvalidInput."""
        ...

    def schema(self) -> dict[str, Json]:
        """The type as JSON Schema."""
        ...


@lru_cache(maxsize=4096)
def codec(kind: Any) -> Codec:
    """How values of a type are kept. Raises Misconfigured for a type that has no JSON form."""
    if kind is Any or kind == Json:
        return _Plain()
    try:
        return _Typed(TypeAdapter(kind))
    except PydanticSchemaGenerationError:
        pass
    try:
        return _Struct(kind)
    except TypeError as error:
        raise Misconfigured(f"{kind} cannot be kept between steps: {error}") from error


class _Typed(Codec):
    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._adapter = adapter

    def encode(self, value: Any) -> str:
        try:
            return self._adapter.dump_json(self._adapter.validate_python(value), by_alias=True).decode()
        except ValidationError as error:
            raise _invalid(error) from error

    def decode(self, text: str) -> Any:
        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            raise _invalid(error) from error

    def schema(self) -> dict[str, Json]:
        return self._adapter.json_schema()


class _Struct(Codec):
    def __init__(self, kind: Any) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._kind = kind

    def encode(self, value: Any) -> str:
        text = msgspec.json.encode(value).decode()
        self.decode(text)
        return text

    def decode(self, text: str) -> Any:
        try:
            return self._decoder.decode(text)
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"not of the declared type: {error}") from error

    def schema(self) -> dict[str, Json]:
        return msgspec.json.schema(self._kind)


class _Plain(Codec):
    def encode(self, value: Any) -> str:
        _check_plain(value)
        return msgspec.json.encode(value).decode()

    def decode(self, text: str) -> Any:
        return msgspec.json.decode(text)

    def schema(self) -> dict[str, Json]:
        return {}


def _check_plain(value: Any) -> None:
    if value is None or isinstance(value, bool | str | int):
        return
    if isinstance(value, float) and math.isfinite(value):
        return
    if isinstance(value, list):
        for each in value:
            _check_plain(each)
    elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
        for each in value.values():
            _check_plain(each)
    else:
        raise InvalidInput(f"{type(value).__name__} is no plain JSON", next_step="Declare the type of the value.")


def _invalid(error: ValidationError) -> InvalidInput:
    fields = [
        FieldProblem("$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in each["loc"]), each["msg"])
        for each in error.errors(include_input=False, include_url=False)[:20]
    ]
    words = "; ".join(f"{each.path} {each.message}" for each in fields[:3])
    return InvalidInput(f"a value is not of its declared type: {words}", fields=fields)


def digest(text: str) -> str:
    """The SHA-256 of a text, in hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


class Answers:
    """Where answers lie: small ones in the journal, large ones as blobs of the run."""

    def __init__(self, blobs: Blobs, *, inline: int) -> None:
        self._blobs = blobs
        self._inline = inline

    async def keep(self, tenant: str, run: str, text: str) -> tuple[str | None, str]:
        """What the journal holds of an answer: its text, or the name of its blob."""
        if len(text) <= self._inline:
            return text, ""
        name = f"{self.folder(tenant, run)}{digest(text)}"
        await self._blobs.put(name, text.encode())
        return None, name

    async def share(self, tenant: str, key: str, blob: str) -> str:
        """The name of a copy of a run's blob, which does not end with the run."""
        name = f"pipelines/{digest(tenant)[:16]}/kept/{key}"
        await self._blobs.put(name, await self._blobs.get(blob))
        return name

    async def remove(self, blob: str) -> None:
        """Remove a shared blob."""
        await self._blobs.delete(blob)

    async def load(self, output: str | None, blob: str) -> str | None:
        """The text of an answer."""
        return (await self._blobs.get(blob)).decode() if blob else output

    async def forget(self, tenant: str, run: str) -> None:
        """Remove the blobs of a run."""
        async for name in self._blobs.list(self.folder(tenant, run)):
            await self._blobs.delete(name)

    @staticmethod
    def folder(tenant: str, run: str) -> str:
        """What the names of a run's blobs begin with."""
        return f"pipelines/{digest(tenant)[:16]}/{run}/"


class _Author(msgspec.Struct, frozen=True):
    principal: str
    roles: list[str]
    scopes: list[str]
    limit: list[str] | None
    labels: list[str]
    trace: str
    sampled: bool
    cost: float | None = None
    tokens: int | None = None
    steps: int | None = None


_authors = msgspec.json.Decoder(_Author)


def author_of(ctx: Context) -> str:
    """Who starts a run, as it is stored with it."""
    rights = ctx.rights
    return msgspec.json.encode(
        _Author(
            ctx.principal, sorted(rights.roles), sorted(rights.scopes),
            None if rights.limit is None else sorted(rights.limit), sorted(ctx.labels),
            ctx.trace.trace_id, ctx.trace.sampled, ctx.budget.cost, ctx.budget.tokens, ctx.budget.steps,
        )
    ).decode()  # fmt: skip


def principal_of(author: str) -> str:
    """The name of who started a run."""
    return _authors.decode(author).principal


def context_of_run(row: RunRow) -> Context:
    """The Context of a run's steps: exactly the starter's tenant, rights, labels, budget and trace."""
    found = _authors.decode(row.author)
    trace = Trace.new(sampled=found.sampled)
    limit = None if found.limit is None else frozenset(found.limit)
    return Context(
        tenant=row.tenant,
        principal=found.principal,
        rights=Rights(frozenset(found.roles), frozenset(found.scopes), limit),
        budget=Budget(found.cost, found.tokens, found.steps),
        trace=Trace(found.trace, trace.span_id, found.sampled),
        # They were labels when they were stored.
        labels=frozenset(cast("list[Sensitivity]", found.labels)),
    )


def plain(text: str | None) -> Json:
    """JSON text as plain values."""
    found: Json = None if text is None else json.loads(text)
    return found
