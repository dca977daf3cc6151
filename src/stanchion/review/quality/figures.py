"""Figures of a queue: how items end, how fast, how well each reviewer decides, and how far reviewers agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import combinations
from statistics import median, quantiles

from ..contract import Agreement, ReviewerFigures, Statistics, Verdict
from ..ports import Row, Vote
from .agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha

_VERDICTS: tuple[Verdict, ...] = ("approve", "edit", "reject")


def statistics(queue: str, since: datetime | None, rows: Sequence[Row]) -> Statistics:
    """The figures of these items. Golden ones count for accuracy and bias, and for nothing else."""
    real = [row for row in rows if not row.golden]
    ended = [row for row in real if row.status in ("decided", "settling") and row.state.ending is not None]
    endings = [row.state.ending for row in ended if row.state.ending is not None]
    seconds = [(row.state.ending.at - row.opened_at).total_seconds() for row in ended if row.state.ending is not None]
    golden = [(row, vote) for row in rows if row.golden for vote in row.state.votes if vote.right is not None]
    return Statistics(
        queue=queue,
        since=since,
        items=len(real),
        decided=len(ended),
        expired=sum(row.status == "expired" for row in real),
        escalated=sum(row.level > 0 for row in real),
        verdicts=dict(Counter(ending.verdict for ending in endings)),
        reasons=dict(Counter(ending.reason for ending in endings if ending.reason)),
        seconds_to_decision=median(seconds) if seconds else None,
        seconds_p90=quantiles(seconds, n=10, method="inclusive")[-1] if len(seconds) > 1 else None,
        accuracy=_share(bool(vote.right) for _, vote in golden),
        bias=_bias(golden),
        agreement=agreement(rows),
        reviewers=_reviewers(rows),
    )


def agreement(rows: Iterable[Row]) -> Agreement:
    """How far those agree who decided the same items without seeing each other's decision."""
    blind = [_independent(row) for row in rows if row.facts.blind]
    several = [votes for votes in blind if len(votes) > 1]
    verdicts = [[vote.verdict for vote in votes] for votes in several]
    pairs = [(a, b) for votes in several for a, b in combinations(votes, 2)]
    usual = Counter(len(votes) for votes in several).most_common(1)
    counts = [[unit.count(name) for name in _VERDICTS] for unit in verdicts if len(unit) == usual[0][0]]
    together = Counter(tuple(sorted((a.by, b.by))) for a, b in pairs).most_common(1)
    pair = together[0][0] if together else ()
    shared = [(a, b) if a.by < b.by else (b, a) for a, b in pairs if tuple(sorted((a.by, b.by))) == pair]
    return Agreement(
        items=len(several),
        observed=_share(a.verdict == b.verdict for a, b in pairs),
        cohen=cohen_kappa([a.verdict for a, _ in shared], [b.verdict for _, b in shared]) if len(shared) > 1 else None,
        cohen_pair=pair,
        fleiss=fleiss_kappa(counts) if len(counts) > 1 else None,
        alpha_nominal=krippendorff_alpha(verdicts) if len(verdicts) > 1 else None,
    )


def _independent(row: Row) -> list[Vote]:
    return [vote for vote in row.state.votes if vote.verdict != "escalate" and not vote.adjudicates]


def _reviewers(rows: Sequence[Row]) -> list[ReviewerFigures]:
    votes: dict[str, list[tuple[Row, Vote]]] = {}
    for row in rows:
        for vote in row.state.votes:
            votes.setdefault(vote.by, []).append((row, vote))
    return [_figures(who, votes[who]) for who in sorted(votes)]


def _figures(who: str, given: Sequence[tuple[Row, Vote]]) -> ReviewerFigures:
    verdicts = Counter(vote.verdict for _, vote in given)
    golden = [(row, vote) for row, vote in given if vote.right is not None]
    return ReviewerFigures(
        principal=who,
        decisions=len(given),
        approve=verdicts["approve"],
        edit=verdicts["edit"],
        reject=verdicts["reject"],
        escalate=verdicts["escalate"],
        seconds=median(vote.seconds for _, vote in given),
        golden=len(golden),
        accuracy=_share(bool(vote.right) for _, vote in golden),
        seeded=sum(row.facts.wrong for row, _ in golden),
        bias=_bias(golden),
        overruled=sum(_overruled(row, vote) for row, vote in given),
    )


def _overruled(row: Row, vote: Vote) -> bool:
    """Whether an adjudicator decided otherwise."""
    last = row.state.votes[-1]
    ended = row.state.ending is not None and last.adjudicates and not vote.adjudicates
    return ended and vote.verdict != "escalate" and (vote.verdict, vote.result) != (last.verdict, last.result)


def _bias(golden: Sequence[tuple[Row, Vote]]) -> float | None:
    """The share of proposals wrong on purpose that were approved as they stood."""
    return _share(vote.verdict == "approve" for row, vote in golden if row.facts.wrong)


def _share(values: Iterable[bool]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
