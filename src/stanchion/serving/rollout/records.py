"""A rollout as it is stored, with the rights that its own promotion will use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row

from ...core.clock import micros, moment
from ...core.context import Rights
from ..contract import Rollout, RolloutPlan
from .machine import LIVE, share_now


@dataclass(frozen=True, slots=True)
class Record:
    """A tenant's rollout. `since` is when the present step began to count; `warm_until` holds the former version.

    `started` and `approved` are the rights of the two persons: what a rollout promotes by itself, it asks for with
    theirs and no others.
    """

    tenant: str
    rollout: Rollout
    since: datetime
    warm_until: datetime
    started: Rights
    approved: Rights

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.rollout.state in LIVE


def columns(record: Record) -> dict[str, object]:
    """The record as a row."""
    rollout = record.rollout
    return {
        "tenant": record.tenant,
        "id": rollout.id,
        "model": rollout.model,
        "kind": rollout.kind,
        "state": rollout.state,
        "control": rollout.control,
        "candidate": rollout.candidate,
        "plan": msgspec.json.encode(rollout.plan).decode(),
        "step": rollout.step,
        "started_at": micros(rollout.started_at),
        "started_by": rollout.started_by,
        "started_rights": _rights_text(record.started),
        "approved_by": rollout.approved_by,
        "approved_rights": _rights_text(record.approved),
        "changed_at": micros(rollout.changed_at),
        "stepped_at": micros(record.since),
        "ended_at": None if rollout.ended_at is None else micros(rollout.ended_at),
        "warm_until": micros(record.warm_until),
        "reason": rollout.reason,
        "revision": rollout.revision,
        "live": record.live,
    }


def record_of(row: Row[Any]) -> Record:
    """The row as a record."""
    plan = msgspec.json.decode(row.plan, type=RolloutPlan)
    rollout = Rollout(
        id=row.id,
        model=row.model,
        kind=row.kind,
        state=row.state,
        control=row.control,
        candidate=row.candidate,
        plan=plan,
        step=row.step,
        percent=share_now(row.kind, row.state, row.step, plan),
        started_at=moment(row.started_at),
        started_by=row.started_by,
        changed_at=moment(row.changed_at),
        reason=row.reason,
        approved_by=row.approved_by,
        ended_at=None if row.ended_at is None else moment(row.ended_at),
        revision=row.revision,
    )
    return Record(
        tenant=row.tenant,
        rollout=rollout,
        since=moment(row.stepped_at),
        warm_until=moment(row.warm_until),
        started=_rights(row.started_rights),
        approved=_rights(row.approved_rights),
    )


def _rights_text(rights: Rights) -> str:
    limit: Sequence[str] | None = None if rights.limit is None else sorted(rights.limit)
    held = {"roles": sorted(rights.roles), "scopes": sorted(rights.scopes), "limit": limit}
    return msgspec.json.encode(held).decode()


def _rights(text: str) -> Rights:
    held: Mapping[str, Sequence[str] | None] = msgspec.json.decode(text, type=dict[str, list[str] | None])
    limit = held["limit"]
    roles, scopes = held["roles"] or (), held["scopes"] or ()
    return Rights(frozenset(roles), frozenset(scopes), None if limit is None else frozenset(limit))
