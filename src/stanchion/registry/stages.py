"""The rules of stage changes: who may put which version where, and what that does to the others.

    dev -> staging -> production        one step at a time; in development mode dev -> production too
    staging -> dev                      a step back
    dev, staging -> archived -> dev     out of use, and in again
    production -> staging               only by a successor or a rollback: a model in use is never left without one

Every function runs inside one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ..core.errors import Conflict, FieldProblem, InvalidInput, NotAllowed, NotFound
from .contract import Change, Promotion, Stage
from .ports import Records, VersionRow

_MOVES: frozenset[tuple[Stage, Stage]] = frozenset(
    {
        ("dev", "staging"),
        ("dev", "archived"),
        ("staging", "production"),
        ("staging", "dev"),
        ("staging", "archived"),
        ("archived", "dev"),
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A stage change that `principal` asks for at `at`; `id` names the promotion should this be a new one."""

    id: str
    model: str
    version: str
    to: Stage
    evidence: str
    principal: str
    at: datetime


def promote(records: Records, asked: Asked, *, alone: bool) -> Promotion:
    """Do the change, or leave it pending for a second person; `alone`: one person is enough, and no step too long."""
    row = records.find(asked.model, asked.version)
    if row is None:
        raise NotFound(f"there is no version {asked.version} of a model {asked.model}")
    _check_move(row, asked, alone=alone)
    if asked.to != "production":
        return _done(records, _new(asked))
    pending = next((p for p in records.pending(asked.model) if p.version == asked.version), None)
    if pending is None:
        _need_evidence(asked)
        if not alone:
            records.save_promotion(promotion := _new(asked))
            return promotion
        return _done(records, _new(asked))
    if pending.requested_by == asked.principal and not alone:
        raise NotAllowed(
            f"{asked.principal} asked for this promotion and cannot decide it as well",
            next_step="Another person with the permission registry:promote must make the same call.",
        )
    evidence = "\n\n".join(dict.fromkeys(text for text in (pending.evidence, asked.evidence) if text))
    return _done(records, replace(pending, evidence=evidence, decided_at=asked.at, decided_by=asked.principal))


def roll_back(records: Records, asked: Asked) -> Promotion:
    """Put the version back that was in production before, undoing the tenure of the one that is; `version` is unused.

    A second rollback goes one further back, not forth again. Versions archived since are passed over.
    """
    present = records.newest(asked.model, stages=("production",))
    if present is None:
        if records.newest(asked.model) is None:
            raise NotFound(f"there is no model {asked.model}")
        raise Conflict(f"no version of {asked.model} is in production, so there is none to go back from")
    former = next(
        (t for t in records.tenures(asked.model) if t.version != present.version and t.stage != "archived"), None
    )
    if former is None:
        raise Conflict(f"no usable version of {asked.model} was in production before {present.version}")
    records.undo_tenures(asked.model, above=former.number)
    promotion = _new(replace(asked, version=former.version, evidence=f"Rollback: {asked.evidence}"))
    promotion = replace(promotion, status="done", decided_at=asked.at, decided_by=asked.principal)
    promotion = _into_production(records, promotion)
    records.save_promotion(promotion)
    records.changed(Change(0, asked.model, former.version, "rolled_back"), asked.at)
    return promotion


def _check_move(row: VersionRow, asked: Asked, *, alone: bool) -> None:
    move = (row.stage, asked.to)
    if move in _MOVES or (alone and move == ("dev", "production")):
        return
    step = "Read the version's stage and decide again."
    if row.stage == "production":
        step = "Promote another version, or roll back: then this one leaves production."
    elif asked.to == "production":
        step = "Promote the version to staging first."
    raise Conflict(f"{row.model} {row.version} is in stage {row.stage} and cannot go to {asked.to}", next_step=step)


def _need_evidence(asked: Asked) -> None:
    if not asked.evidence:
        message = "production needs evidence: what was compared, with what result"
        raise InvalidInput(message, fields=[FieldProblem("$.evidence", message)])


def _new(asked: Asked) -> Promotion:
    return Promotion(
        id=asked.id,
        model=asked.model,
        version=asked.version,
        to=asked.to,
        evidence=asked.evidence,
        status="pending",
        requested_at=asked.at,
        requested_by=asked.principal,
    )


def _done(records: Records, promotion: Promotion) -> Promotion:
    promotion = replace(
        promotion,
        status="done",
        decided_at=promotion.decided_at or promotion.requested_at,
        decided_by=promotion.decided_by or promotion.requested_by,
    )
    if promotion.to == "production":
        promotion = _into_production(records, promotion)
        records.begin_tenure(promotion.model, promotion.version)
    else:
        records.set_stage(promotion.model, promotion.version, promotion.to)
        _reject(records, promotion, version=promotion.version)
    records.save_promotion(promotion)
    change = Change(0, promotion.model, promotion.version, "archived" if promotion.to == "archived" else "promoted")
    records.changed(change, promotion.decided_at or promotion.requested_at)
    return promotion


def _into_production(records: Records, promotion: Promotion) -> Promotion:
    former = records.newest(promotion.model, stages=("production",))
    if former is not None:
        records.set_stage(promotion.model, former.version, "staging")
    records.set_stage(promotion.model, promotion.version, "production")
    # What others are waiting for was compared with the former version: its evidence no longer holds.
    _reject(records, promotion)
    return replace(promotion, replaces=None if former is None else former.version)


def _reject(records: Records, by: Promotion, *, version: str | None = None) -> None:
    for pending in records.pending(by.model):
        if pending.id != by.id and version in (None, pending.version):
            records.save_promotion(
                replace(pending, status="rejected", decided_at=by.decided_at, decided_by=by.decided_by)
            )
