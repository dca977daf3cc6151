"""How many calls of a new version it takes until a guard finds it harmful, and how often it accuses a harmless one.

    python benchmarks/serving/rollouts.py

Simulated: 5 % of the calls go to the new version, of two guards in four steps each has an eighth of alpha .05, and
somebody looks after every twentieth call. No wall clock is involved.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import log

from stanchion.serving.rollout import sequences
from stanchion.serving.rollout.sequences import Moments

SHARE, ALPHA, LOOK, MOST, RUNS = 0.05, 0.05 / 8, 20, 40_000, 40


def errors(chance: random.Random, worse: float, *, most: int = MOST) -> int | None:
    """Calls of the new version until more errors than tolerated are found; the present one fails .5 %."""
    seen = [0, 0, 0, 0]
    for call in range(1, most + 1):
        arm = 0 if chance.random() < SHARE else 2
        seen[arm] += chance.random() < (worse if arm == 0 else 0.005)
        seen[arm + 1] += 1
        if call % LOOK == 0 and sequences.rate_difference(*seen, ALPHA).low > 0.01:
            return seen[1]
    return None


def latency(chance: random.Random, factor: float, *, most: int = MOST) -> int | None:
    """The same for a version that is slower by a factor, where half as slow again is tolerated."""
    new, present = Moments(), Moments()
    for call in range(1, most + 1):
        value = chance.gauss(0, 0.4)
        if chance.random() < SHARE:
            value += log(factor)
            new += Moments(1, value, value * value)
        else:
            present += Moments(1, value, value * value)
        looked = call % LOOK == 0 and min(new.n, present.n) >= 30
        if looked and sequences.mean_difference(new, present, ALPHA, scale=log(1.25)).low > log(1.5):
            return new.n
    return None


def row(what: str, race: Callable[[random.Random], int | None]) -> str:
    chance = random.Random(1)
    found = sorted(calls for calls in (race(chance) for _ in range(RUNS)) if calls is not None)
    if not found:
        return f"{what:28} found in   0 of {RUNS} runs"
    median, most = found[len(found) // 2], found[int(0.9 * len(found))]
    return f"{what:28} found in {len(found):3} of {RUNS} runs: median {median}, 90 % {most}"


def main() -> None:
    for rate in (0.5, 0.2, 0.1, 0.05):
        print(row(f"errors {rate:.0%} instead of .5 %", lambda chance, rate=rate: errors(chance, rate)))
    for factor in (3.0, 2.0, 1.75):
        print(row(f"{factor:g} x as slow", lambda chance, factor=factor: latency(chance, factor)))
    print(row("harmless: the same errors", lambda chance: errors(chance, 0.005, most=5000)))
    print(row("harmless: the same latency", lambda chance: latency(chance, 1.0, most=5000)))


if __name__ == "__main__":
    main()
