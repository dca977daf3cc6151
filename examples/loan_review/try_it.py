"""Sends applications through, reviews those that wait, and shows each run going on with what was decided."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from stanchion.core.context import Context, Rights
from stanchion.core.declaration import load_declarations
from stanchion.core.values import Json
from stanchion.pipelines import Pipelines, Run
from stanchion.review import Case, Draft, Expected, Reviews, Submission
from stanchion.testing import Offline, offline

NUMBER = 120
SCOPES = ("review:read", "review:see", "review:claim", "review:decide")


def reviewer(running: Offline, name: str) -> Context:
    """A person with a reviewer's scopes and nothing else."""
    return replace(running.ctx, principal=name, rights=Rights(scopes=frozenset(SCOPES)))


def judged(case: Case, chance: random.Random, most_debt: float) -> Submission:
    """What a made-up person decides: some bear more debt than others, and one in ten is waved through."""
    seen, offer = case.shown["input"], dict(case.shown["proposal"])
    about: dict[str, Any] = {"verdict": "approve"}
    if chance.random() < 0.1:
        about = {"verdict": "approve"}
    elif seen["debt"] > most_debt or seen["late_payments"] > 2:
        about = {"verdict": "reject", "reason": "too-much-debt"}
    elif offer["grant"] and offer["amount"] >= 30_000 and chance.random() < 0.9:
        about = {"verdict": "edit", "reason": "smaller-amount", "value": {**offer, "amount": offer["amount"] // 2}}
    return Submission(case.item.id, case.item.version, case.digest, case.token or 0, **about)


async def work(reviews: Reviews, who: Context, seed: int) -> int:
    """Take what waits and decide it until nothing is left; how many decisions."""
    chance, most_debt, done = random.Random(seed), 0.45 + 0.1 * seed, 0
    while cases := await reviews.claim(who, queue="loans", limit=4):
        settled = await reviews.decide(who, [judged(case, chance, most_debt) for case in cases])
        done += sum(each.error is None for each in settled)
    return done


async def main() -> dict[str, Any]:
    """Run it all; the figures that it prints."""
    app = load_declarations(Path(__file__).with_name("system.py"))
    from applications import applications  # beside the system file, importable once that is loaded

    async with offline(app, settings={"review": {"tick_seconds": 0.1, "poll_seconds": 0.1}}) as running:
        reviews, pipelines = running.door(Reviews), running.door(Pipelines)
        wanted = list(applications(7, NUMBER))
        runs = [await pipelines.begin(running.ctx, "decide-loan", each.model_dump(mode="json")) for each in wanted]
        wrong: dict[str, Json] = {"grant": True, "amount": 90_000, "rate": 1.0}
        trap = wanted[0].model_copy(update={"debt": 2.5, "late_payments": 6, "amount": 90_000})
        await reviews.seed(
            running.ctx, Draft("loans", trap.model_dump(mode="json"), wrong), Expected("reject", wrong=True)
        )
        people = [reviewer(running, f"user:{name}") for name in ("ada", "ben", "cleo")]
        ended: list[Run] = []
        while len(ended) < len(runs):
            await asyncio.gather(*(work(reviews, who, seed) for seed, who in enumerate(people)))
            found = [await pipelines.wait(running.ctx, run.id, seconds=0.2) for run in runs]
            ended = [run for run in found if run.status not in ("queued", "running", "waiting")]
        figures = await reviews.statistics(running.ctx, "loans")
        dataset = await reviews.dataset(running.ctx, "loans")
    by = [run.output["by"] if isinstance(run.output, dict) else run.status for run in ended]
    return {
        "applications": len(runs),
        "decided by the card": by.count("card"),
        "decided by people": by.count("people"),
        "verdicts": figures.verdicts,
        "reviewed twice": figures.agreement.items,
        "Krippendorff's alpha": figures.agreement.alpha_nominal,
        "wrong proposals approved": figures.bias,
        "data set": f"version {dataset.version}, {dataset.rows} rows, {dataset.sha256[:12]}",
    }


if __name__ == "__main__":
    for name, value in asyncio.run(main()).items():
        print(f"{name:26} {value}")
