"""Which stretches of event time a run has to do, and which of them an earlier run has done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...core.errors import InvalidInput
from ..ports import Job, Span
from ..windows.plan import Plan
from ..windows.state import SLACK

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Partition:
    """One stretch. `after` is the state once it is done; `known` limits it to rows that became known since then."""

    span: Span
    after: Job
    skipped: bool = False
    known: int | None = None


def useful(plan: Plan, now: int) -> int:
    """The earliest event time that the online side can still need at `now`: what is older is stale and out of reach."""
    oldest = now - 2 * plan.ttl
    return min([oldest, *(group.far_end(now - SLACK) for group in plan.groups)])


def catch_up(plan: Plan, job: Job, *, first: int | None, end: int, now: int, size: int) -> Sequence[Partition]:
    """From where the last run ended to `end`; before it, what became known too late for that run.

    `first` is the source's first event time, None if it has no rows.
    """
    oldest = useful(plan, now)
    if first is None:
        return ()
    start = max(oldest, first) if job.reached is None else max(oldest, job.reached)
    done = replace(job, reached=max(end, job.reached or end), known=now)
    made: list[Partition] = []
    comes_late = plan.source is not None and plan.source.known is not None
    if comes_late and job.reached is not None and job.known is not None and oldest < start:
        made.append(Partition(Span(oldest, start), job, known=job.known))
    spans = _cut(start, end, size)
    made += [Partition(span, replace(job, reached=span.end)) for span in spans]
    return [*made[:-1], replace(made[-1], after=done)] if made else ()


def backfill(job: Job, *, start: int, end: int, size: int) -> Sequence[Partition]:
    """A given stretch; what an unfinished run over the same stretch has done is skipped."""
    spans = _cut(start, end, size)
    resumed = job.next if (job.start, job.end) == (start, end) else None
    made = []
    for span in spans:
        last = span is spans[-1]
        after = replace(job, start=start, end=end, next=span.end)
        if job.reached is not None and start <= job.reached < span.end:
            after = replace(after, reached=span.end)
        if last:
            after = replace(after, start=None, end=None, next=None)
        made.append(Partition(span, after, skipped=resumed is not None and span.end <= resumed))
        job = replace(job, reached=after.reached)
    return made


def _cut(start: int, end: int, size: int) -> Sequence[Span]:
    """The stretch in parts that begin at whole multiples of `size`, so that runs cut alike."""
    spans = []
    while start < end:
        stop = min(end, (start // size + 1) * size)
        spans.append(Span(start, stop))
        start = stop
        if len(spans) > _MOST:
            raise InvalidInput(
                f"the stretch has more than {_MOST:,} partitions",
                next_step="Take a shorter one, or raise features.partition_hours.",
            )
    return spans
