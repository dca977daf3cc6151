"""The tenant's prompts, kept in SQL. A version, once added, is for ever what it is: answers refer to it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from ...core.clock import Clock, micros, moment
from ...core.context import Context
from ...core.errors import Conflict, InvalidInput, NotFound
from ...core.flags.split import check_shares, choose
from ...core.storage import Database
from ...core.values import Json
from ..contract.prompts import Message, Prompt, Prompts, PromptView, Rendered, Variable
from . import tables, template

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,126}")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_FRESH_SECONDS = 2.0


class _Content(msgspec.Struct, frozen=True):
    messages: list[Message]
    variables: list[Variable]


class _Known(NamedTuple):
    until: float
    weights: Mapping[int, float]


_ENCODE = msgspec.msgpack.Encoder().encode
_CONTENT = msgspec.msgpack.Decoder(_Content)
_WEIGHTS = msgspec.msgpack.Decoder(dict[int, float])


class PromptService(Prompts):
    """Versions are remembered for good, as they do not change; labels for two seconds."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._versions: dict[tuple[str, str, int], Prompt] = {}
        self._labels: dict[tuple[str, str, str], _Known] = {}

    async def prompts(self, ctx: Context) -> Sequence[PromptView]:
        versions, labels = tables.prompts, tables.labels
        newest = (
            select(versions.c.name, func.max(versions.c.version))
            .where(versions.c.tenant == ctx.tenant)
            .group_by(versions.c.name)
            .order_by(versions.c.name)
        )
        labelled = select(labels.c.name, labels.c.label, labels.c.weights).where(labels.c.tenant == ctx.tenant)
        names, told = await self._database.read(lambda c: (c.execute(newest).all(), c.execute(labelled).all()))
        found: defaultdict[str, dict[str, Mapping[int, float]]] = defaultdict(dict)
        for name, label, weights in told:
            found[name][label] = _WEIGHTS.decode(weights)
        return [PromptView(name, version, found[name]) for name, version in names]

    async def prompt(self, ctx: Context, name: str, version: int | None = None) -> Prompt:
        known = self._versions.get((ctx.tenant, name, version or 0))
        if known is not None:
            return known
        table = tables.prompts
        wanted = select(table).where(table.c.tenant == ctx.tenant, table.c.name == name)
        wanted = wanted.where(table.c.version == version) if version else wanted.order_by(table.c.version.desc())
        row = await self._database.read(lambda connection: connection.execute(wanted.limit(1)).mappings().first())
        if row is None:
            raise NotFound(f"there is no prompt {name}" + (f" of version {version}" if version else ""))
        content = _CONTENT.decode(row["content"])
        at = moment(row["at"])
        found = Prompt(name, row["version"], content.messages, content.variables, row["note"], row["author"], at)
        if len(self._versions) > 10_000:
            self._versions.clear()
        self._versions[(ctx.tenant, name, found.version)] = found
        return found

    async def add_prompt(
        self,
        ctx: Context,
        name: str,
        messages: Sequence[Message],
        *,
        variables: Sequence[Variable] = (),
        note: str = "",
        after: int | None = None,
    ) -> Prompt:
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{name!r} cannot name a prompt: take a-z, 0-9, dots, dashes and _")
        template.check(messages, variables)
        at = self._clock.now()
        content = _ENCODE(_Content(list(messages), list(variables)))

        def work(connection: Connection) -> int:
            version = _newest(connection, ctx.tenant, name)
            if after is not None and after != version:
                raise Conflict(f"the newest version of {name} is {version}, not {after}")
            row = {"tenant": ctx.tenant, "name": name, "version": version + 1, "content": content}
            connection.execute(insert(tables.prompts).values(**row, note=note, author=ctx.principal, at=micros(at)))
            if ctx.effect is not None:
                ctx.effect.note(version=version + 1)
            return version + 1

        try:
            version = await self._database.write(ctx, work)
        except IntegrityError as error:
            raise Conflict(f"another version of {name} was added at the same moment") from error
        return Prompt(name, version, list(messages), list(variables), note, ctx.principal, _whole(at))

    async def label_prompt(self, ctx: Context, name: str, label: str, weights: Mapping[int, float]) -> PromptView:
        if not _LABEL.fullmatch(label):
            raise InvalidInput(f"{label!r} cannot be a label: take a-z, 0-9, dashes and _, a letter first")
        if weights:
            check_shares({str(version): weight for version, weight in weights.items()})
        for version in weights:
            await self.prompt(ctx, name, version)
        table = tables.labels
        mine = (table.c.tenant == ctx.tenant) & (table.c.name == name) & (table.c.label == label)
        if ctx.effect is not None:
            ctx.effect.note(label=label, versions=",".join(map(str, sorted(weights))))

        def work(connection: Connection) -> None:
            connection.execute(delete(table).where(mine))
            if weights:
                row = {"tenant": ctx.tenant, "name": name, "label": label, "weights": _ENCODE(dict(weights))}
                connection.execute(insert(table).values(**row))

        await self._database.write(ctx, work)
        self._labels.pop((ctx.tenant, name, label), None)
        views = [view for view in await self.prompts(ctx) if view.name == name]
        if not views:
            raise NotFound(f"there is no prompt {name}")
        return views[0]

    async def render_prompt(
        self, ctx: Context, name: str, variables: Mapping[str, Json], *, label: str = "production", unit: str = ""
    ) -> Rendered:
        version = int(label) if _VERSION.fullmatch(label) else await self._labelled(ctx, name, label, unit)
        found = await self.prompt(ctx, name, version)
        return Rendered(name, version, label, template.fill(found.messages, found.variables, variables))

    async def _labelled(self, ctx: Context, name: str, label: str, unit: str) -> int:
        weights = await self._weights(ctx.tenant, name, label)
        if len(weights) == 1:
            return next(iter(weights))
        shares = {str(version): weight for version, weight in weights.items()}
        return int(choose(f"prompt:{name}:{label}", unit or ctx.principal, shares))

    async def _weights(self, tenant: str, name: str, label: str) -> Mapping[int, float]:
        key = (tenant, name, label)
        known = self._labels.get(key)
        if known is not None and self._clock.monotonic() < known.until:
            return known.weights
        table = tables.labels
        wanted = select(table.c.weights).where(table.c.tenant == tenant, table.c.name == name, table.c.label == label)
        stored = await self._database.read(lambda connection: connection.execute(wanted).scalar())
        if stored is None:
            raise NotFound(
                f"the prompt {name} has no label {label}",
                next_step="Give the label to a version, or name a version by its number.",
            )
        if len(self._labels) > 10_000:
            self._labels.clear()
        weights = _WEIGHTS.decode(stored)
        self._labels[key] = _Known(self._clock.monotonic() + _FRESH_SECONDS, weights)
        return weights


def _newest(connection: Connection, tenant: str, name: str) -> int:
    table = tables.prompts
    newest = select(func.max(table.c.version)).where(table.c.tenant == tenant, table.c.name == name)
    return int(connection.execute(newest).scalar() or 0)


def _whole(at: datetime) -> datetime:
    """The moment as the database keeps it."""
    return moment(micros(at))
