"""The journal: what was predicted, kept so that what became of it can be held against it.

`note` costs the request nothing but an append. In the background each call's inputs and answer are sealed with the
tenant's key and written in groups. A process that is killed loses what it answered in its last moments, at most some
tenths of a second; when the store cannot keep up, the newest calls are dropped and counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import Connection, func, select

from ...core.clock import Clock, micros, moment
from ...core.context import Context
from ...core.errors import StanchionError
from ...core.flags.split import POINTS, bucket
from ...core.storage import Database
from ...core.tasks import end_tasks
from ...core.telemetry.batch import BatchWriter
from ...core.telemetry.retention import Retention, prune
from ...core.telemetry.tables import Insert
from ...core.values import Json
from ..contract import Entry, Keep, Predictions
from .tables import predictions, truths

if TYPE_CHECKING:
    from ..loaded import Loaded

_COLUMNS = (
    "tenant",
    "request_id",
    "instance",
    "at",
    "model",
    "version",
    "arm",
    "rung",
    "shadow",
    "score",
    "predicted",
    "overruled_by",
    "review",
    "blob",
)
_SHAPES = 1_000
_SALT = "serving-journal"
_LABEL = 200
ALL = Keep()
log = logging.getLogger(__name__)


class Sealer(Protocol):
    """Encrypts for a tenant and a place; what is moved to another place or tenant does not open."""

    async def encrypt(self, tenant: str, place: str, plaintext: bytes) -> bytes:
        """The content sealed."""
        ...

    async def decrypt(self, tenant: str, place: str, sealed: bytes) -> bytes:
        """What was sealed. Raises NotTrustworthy if it was changed or belongs elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A business metric of one version in one arm: how many values, their sum, and the sum of their squares."""

    version: str
    arm: str
    count: int
    total: float
    squares: float


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's fields is what: `score` takes a probability or a number, `label` a class; identifiers."""

    score: str
    label: str
    identifiers: frozenset[str]


class _Note(NamedTuple):
    at: datetime
    tenant: str
    request_id: str
    instances: Sequence[Mapping[str, Json]]
    answer: Predictions
    shape: Shape
    keep: Keep
    shadow: bool


class Journal:
    """Keeps predictions, each call whole or not at all. `pseudonym` keys the digest of identifiers by tenant."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        clock: Clock,
        *,
        pseudonym: Callable[[str], bytes],
        days: int = 30,
        capacity: int = 20_000,
        on_dropped: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._pseudonym = pseudonym
        self._capacity = capacity
        self._on_dropped = on_dropped
        self._keys: dict[str, bytes] = {}
        self._shapes: OrderedDict[tuple[str, str, str], Shape] = OrderedDict()
        self._notes: deque[_Note] = deque()
        self._some = asyncio.Event()
        self._turn = asyncio.Lock()
        self._insert = Insert(predictions, _COLUMNS, database.dialect)
        self._writer: BatchWriter[tuple[Any, ...]] = BatchWriter(
            database, self._store, task="serving-journal", capacity=capacity
        )
        self._retention = Retention({self.prune: days}, clock)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to store what is noted, and to remove what is old."""
        await self._writer.start()
        await self._retention.start()
        self._task = asyncio.create_task(self._serve(), name="serving-journal")

    async def stop(self) -> None:
        """Store all that waits, then end. Raises Unavailable if the store takes nothing."""
        await end_tasks(self._task)
        await self._retention.stop()
        await self._seal()
        await self._writer.stop()

    def note(
        self,
        ctx: Context,
        loaded: Loaded,
        instances: Sequence[Mapping[str, Json]],
        answer: Predictions,
        *,
        shadow: bool = False,
    ) -> None:
        """Take an answer if its model keeps it: all of a rollout's, else the declared share."""
        keep = None if loaded.declared is None else loaded.declared.keep
        if not answer.arm and not _wanted(keep, ctx.request_id):
            return
        if len(self._notes) >= self._capacity or self._writer.full:
            self._on_dropped(len(instances))
            return
        shape = self._shape(ctx.tenant, loaded)
        now = self._clock.now()
        self._notes.append(_Note(now, ctx.tenant, ctx.request_id, instances, answer, shape, keep or ALL, shadow))
        self._some.set()

    async def flush(self) -> None:
        """Return once everything noted before is stored."""
        await self._seal()
        await self._writer.flush()

    async def entries(self, tenant: str, request_id: str) -> Sequence[Entry]:
        """The kept predictions of one request, in order. Raises NotTrustworthy."""
        await self.flush()
        c = predictions.c
        query = select(predictions).where(c.tenant == tenant, c.request_id == request_id).order_by(c.instance, c.id)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        found = []
        for row in rows:
            place = _place(row.request_id, row.instance, row.version, row.arm)
            told = json.loads(await self._sealer.decrypt(tenant, place, row.blob))
            found.append(
                Entry(
                    request_id=row.request_id,
                    instance=row.instance,
                    at=moment(row.at),
                    model=row.model,
                    version=row.version,
                    arm=row.arm,
                    rung=row.rung,
                    inputs=told["inputs"],
                    output=told["output"],
                    overruled_by=row.overruled_by,
                    review=row.review,
                )
            )
        return found

    async def outcomes(
        self, tenant: str, model: str, *, since: datetime, metric: str = "outcome"
    ) -> Sequence[Outcomes]:
        """A business metric by version and arm, of predictions made since that moment; shadows have none."""
        c = truths.c
        query = (
            select(c.version, c.arm, func.count(), func.sum(c.number), func.sum(c.number * c.number))
            .where(c.tenant == tenant, c.model == model, c.metric == metric, c.predicted_at >= micros(since))
            .group_by(c.version, c.arm)
            .order_by(c.version, c.arm)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [Outcomes(*row) for row in rows]

    async def prune(self, older_than: datetime) -> int:
        """Delete predictions, and what became of them, from before that moment; how many predictions went."""
        await prune(self._database, truths, truths.c.at, older_than)
        return await prune(self._database, predictions, predictions.c.at, older_than)

    async def _serve(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            await self._seal()

    async def _seal(self) -> None:
        async with self._turn:
            while self._notes:
                note = self._notes.popleft()
                try:
                    for row in [await self._row(note, place) for place in range(len(note.instances))]:
                        self._writer.add(row)
                except StanchionError as error:
                    # A tenant whose keys were destroyed keeps nothing; others are not held up by it.
                    log.warning("a prediction could not be kept: %s", error.detail)
                    self._on_dropped(len(note.instances))

    async def _row(self, note: _Note, place: int) -> tuple[Any, ...]:
        answer, item = note.answer, note.answer.items[place]
        score, label = item.values.get(note.shape.score), item.values.get(note.shape.label)
        output = item.values if item.error is None else {"error": item.error}
        content = _encoded({"inputs": self._inputs(note, place), "output": output})
        sealed_for = _place(note.request_id, place, answer.version, answer.arm)
        return (
            note.tenant,
            note.request_id,
            place,
            micros(note.at),
            answer.model,
            answer.version,
            answer.arm,
            "refused" if item.error is not None else item.served_by or answer.served_by,
            note.shadow,
            _number(score),
            _text(label),
            item.overruled_by,
            item.review,
            await self._sealer.encrypt(note.tenant, sealed_for, content),
        )

    def _inputs(self, note: _Note, place: int) -> Mapping[str, Json]:
        given, dropped = note.instances[place], set(note.keep.omit)
        if not isinstance(given, Mapping):
            return {}
        return {
            name: self._digest(note.tenant, value) if name in note.shape.identifiers else value
            for name, value in given.items()
            if name not in dropped
        }

    def _digest(self, tenant: str, value: Json) -> str:
        """A pseudonym: the same for the same identifier of the same tenant, and not to be turned back by trying."""
        key = self._keys.get(tenant)
        if key is None:
            key = self._keys[tenant] = self._pseudonym(tenant)
        return "id:" + hashlib.blake2b(_encoded(value), key=key, digest_size=12).hexdigest()

    def _shape(self, tenant: str, loaded: Loaded) -> Shape:
        key = (tenant, loaded.model, loaded.manifest)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = shape_of(loaded.input_schema, loaded.output_schema)
            while len(self._shapes) > _SHAPES:
                self._shapes.popitem(last=False)
        return shape

    def _store(self, connection: Connection, rows: Sequence[tuple[Any, ...]], again: bool) -> None:
        if again and _stored(connection, rows[0]):
            return
        self._insert(connection, rows)


def shape_of(taken: Mapping[str, Any], given: Mapping[str, Any]) -> Shape:
    """Which fields are which: `probability` or the only number is the score, the only text the label."""
    fields: Mapping[str, Any] = given.get("properties", {})
    numbers = [name for name, each in fields.items() if each.get("type") in ("number", "integer")]
    texts = [name for name, each in fields.items() if each.get("type") == "string"]
    score = "probability" if "probability" in numbers else numbers[0] if len(numbers) == 1 else ""
    identifiers = [n for n, each in taken.get("properties", {}).items() if each.get("role") == "identifier"]
    return Shape(score, texts[0] if len(texts) == 1 else "", frozenset(identifiers))


def _encoded(content: object) -> bytes:
    try:
        return msgspec.json.encode(content)
    except (OverflowError, ValueError):
        # Numbers beyond 64 bits and half surrogates, which the standard library writes as they came.
        return json.dumps(content).encode()


def _number(value: Json) -> float | None:
    """A score that every store can hold."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _text(value: Json) -> str | None:
    """A label that every store can hold: no NUL, no half surrogates, not long."""
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:_LABEL] if isinstance(value, str) else None


def _wanted(keep: Keep | None, request_id: str) -> bool:
    return keep is not None and (keep.share >= 1 or bucket(_SALT, request_id) < keep.share * POINTS)


def _stored(connection: Connection, row: tuple[Any, ...]) -> bool:
    told = dict(zip(_COLUMNS, row, strict=True))
    c = predictions.c
    same = [c[name] == told[name] for name in ("tenant", "request_id", "instance", "version", "arm")]
    return connection.execute(select(c.id).where(*same).limit(1)).first() is not None


def _place(request_id: str, instance: int, version: str, arm: str) -> str:
    return f"prediction/{request_id}/{instance}/{version}/{arm}"
