"""`stanchion reviews ...`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, cast, get_args

import msgspec

from ...core.context import Context
from ...core.errors import Conflict, InvalidInput, from_problem
from ...core.values import Json
from ...review import Case, DatasetVersion, Item, Reviews, Statistics, Status, Submission, Verdict
from .office import DONE, Options, opened, operator, run, show, table

Work = Callable[[Options, Reviews, Context], Awaitable[None]]
MODULES = ("events", "review")


class Verdicts(NamedTuple):
    """What was said of a decision on the command line."""

    verdict: str
    digest: str
    reason: str
    note: str
    value: str


def at_reviews(file: Path | None, data: Path, json: bool, work: Work) -> int:
    """Run `work` over the stored state; a running server sees it at once."""
    options = Options(data=data, json=json)

    async def whole() -> int:
        async with opened(options, file=file, only=MODULES) as house:
            await work(options, house.door(Reviews), operator(house.settings.tenant))
        return DONE

    return run(options, whole)


def listed(queue: str, status: Sequence[str], limit: int, *, data: Path, json: bool) -> int:
    """Print items."""

    async def work(options: Options, reviews: Reviews, ctx: Context) -> None:
        unknown = [each for each in status if each not in get_args(Status)]
        if unknown:
            raise InvalidInput(f"{unknown[0]!r} is no state", next_step=f"Use one of {', '.join(get_args(Status))}.")
        # Checked just above; a type checker does not see it.
        states = cast("Sequence[Status]", status)
        found = await reviews.items(ctx, queue=queue, status=states, limit=limit)
        head = ("ITEM", "QUEUE", "STATE", "PRIORITY", "TITLE", "MATCHED", "EXPIRES", "VERDICT")
        rows = [_row(item) for item in found]
        show(options, [asdict(item) for item in found], lambda: table(head, rows) if rows else "Nothing waits.")

    return at_reviews(None, data, json, work)


def shown(file: Path, item: str, *, data: Path, json: bool) -> int:
    """Print a case."""

    async def work(options: Options, reviews: Reviews, ctx: Context) -> None:
        case = await reviews.get(ctx, item)
        show(options, asdict(case), lambda: described(case))

    return at_reviews(file, data, json, work)


def decided(file: Path, item: str, said: Verdicts, *, data: Path, json: bool) -> int:
    """Claim an item and decide it."""

    async def work(options: Options, reviews: Reviews, ctx: Context) -> None:
        verdict = _verdict(said.verdict)
        [case] = await reviews.claim(ctx, ids=[item])
        if case.digest != said.digest or case.token is None:
            if case.token is not None:
                await reviews.release(ctx, item, case.token)
            raise Conflict(f"{item} is not as it was shown", next_step="Run `stanchion reviews show` again.")
        value = _json(said.value) if said.value else None
        [settled] = await reviews.decide(
            ctx,
            [
                Submission(
                    item, case.item.version, case.digest, case.token, verdict, said.reason, said.note, value=value
                )
            ],
        )
        if settled.error is not None:
            await reviews.release(ctx, item, case.token)
            raise from_problem(settled.error)
        show(options, asdict(settled), lambda: f"{item}: {said.verdict}, now {settled.status}")

    return at_reviews(file, data, json, work)


def figures(file: Path, queue: str, *, data: Path, json: bool) -> int:
    """Print a queue's figures."""

    async def work(options: Options, reviews: Reviews, ctx: Context) -> None:
        found = await reviews.statistics(ctx, queue)
        show(options, asdict(found), lambda: told(found))

    return at_reviews(file, data, json, work)


def exported(file: Path, queue: str, version: int, output: Path, *, data: Path, json: bool) -> int:
    """Write a data set, whole or not at all."""

    async def work(options: Options, reviews: Reviews, ctx: Context) -> None:
        known = await reviews.dataset(ctx, queue) if not version else None
        number = known.version if known is not None else version
        beside = output.with_name(output.name + ".part")
        try:
            with beside.open("wb") as target:
                async for piece in reviews.export(ctx, queue, number):
                    target.write(piece)
            beside.replace(output)
        finally:
            beside.unlink(missing_ok=True)
        found = next(each for each in await reviews.datasets(ctx, queue) if each.version == number)
        show(options, {**asdict(found), "output": str(output)}, lambda: _written(found, output))

    return at_reviews(file, data, json, work)


def erased(file: Path, item: str, reason: str, *, data: Path, json: bool) -> int:
    """Erase an item and its copies."""

    async def work(options: Options, reviews: Reviews, ctx: Context) -> None:
        copies = await reviews.erase(ctx, item, reason=reason)
        told = f"{item} is erased, and its copies in {copies:,} other items"
        show(options, {"item": item, "copies": copies}, lambda: told)

    return at_reviews(file, data, json, work)


def described(case: Case) -> str:
    """A case for people at a terminal."""
    item = case.item
    parts = [
        f"{item.id}  {item.queue}, {item.status}, {item.priority}, version {item.version}",
        f"expires {item.expires_at:%Y-%m-%d %H:%M} UTC; opened by {item.author}; sent here by {_names(item.matched)}",
        f"digest {case.digest}",
        "",
        msgspec.json.format(msgspec.json.encode(case.shown), indent=2).decode(),
        "",
        *(f"{mark.at:%Y-%m-%d %H:%M:%S}  {mark.kind:12} {mark.by} {mark.note}".rstrip() for mark in case.history),
    ]
    if case.outcome is not None:
        parts += ["", f"{case.outcome.verdict} by {_names(case.outcome.by)} {case.outcome.reason}".rstrip()]
    return "\n".join(parts)


def told(found: Statistics) -> str:
    """A queue's figures for people."""
    shared = found.agreement
    lines = [
        f"{found.queue}: {found.items:,} items, {found.decided:,} decided, {found.expired:,} expired, "
        f"{found.escalated:,} escalated",
        f"seconds to a decision: median {_figure(found.seconds_to_decision)}, 90 % within {_figure(found.seconds_p90)}",
        f"accuracy on golden items {_figure(found.accuracy)}, automation bias {_figure(found.bias)}",
        f"agreement on {shared.items:,} items: observed {_figure(shared.observed)}, Cohen {_figure(shared.cohen)}, "
        f"Fleiss {_figure(shared.fleiss)}, alpha {_figure(shared.alpha_nominal)}",
    ]
    head = ("REVIEWER", "DECISIONS", "APPROVE", "EDIT", "REJECT", "ESCALATE", "SECONDS", "ACCURACY", "BIAS")
    rows = [
        (
            each.principal,
            each.decisions,
            each.approve,
            each.edit,
            each.reject,
            each.escalate,
            _figure(each.seconds),
            _figure(each.accuracy),
            _figure(each.bias),
        )
        for each in found.reviewers
    ]
    return "\n".join(lines + (["", table(head, rows)] if rows else []))


def _row(item: Item) -> tuple[object, ...]:
    until = f"{item.expires_at:%Y-%m-%d %H:%M}"
    return (item.id, item.queue, item.status, item.priority, item.title, _names(item.matched), until, item.verdict)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "-"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _written(found: DatasetVersion, output: Path) -> str:
    return f"{output}: {found.queue} version {found.version}, {found.rows:,} decisions, SHA-256 {found.sha256}"


def _verdict(text: str) -> Verdict:
    found: Verdict | None = next((each for each in get_args(Verdict) if each == text), None)
    if found is None:
        raise InvalidInput(f"{text!r} is no verdict", next_step=f"Use one of {', '.join(get_args(Verdict))}.")
    return found


def _json(text: str) -> Json:
    try:
        value: Json = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the value is no JSON: {error}") from error
    return value
