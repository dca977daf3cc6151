"""What a call through the gateway costs beside the least that passes it through, and beside LiteLLM's proxy.

Run: python benchmarks/gateway/calls.py [--rounds 5] [--seconds 5] [--no-rivals]. Everybody asks one mock upstream
(upstream.py) and is loaded in turn, round by round, by wrk; ratios are medians over the rounds, of two in the same
round. CPU is of the whole process tree, what is written after the answer included. Stanchion has everything on: key
check, gate, limits and budget, breaker, price, ledgers of requests and of spend. `at_once` is an upstream that answers
without delay, `in_20_ms` one that takes that long; `streams` are of fifty chunks 4 ms apart; `cached` is an exact hit
beside a handler that looks the body up in a dictionary; `private` is `at_once` with a privacy policy as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median

import sides
from process import CONNECTIONS, Round, Server, fire
from sides import CHAT, Load, chat

WARM_SECONDS = 2
STREAMING = 8  # so that nobody is at their limit: a server that lags would be given several chunks at once
Found = dict[str, list[Round]]


def rounds_of(loads: Mapping[str, Load], *, rounds: int, seconds: float, connections: int = CONNECTIONS) -> Found:
    """Load each in turn, after a short load that does not count."""
    sides.same(dict(loads))
    for each in loads.values():
        fire(each.server, each.path, each.body, seconds=WARM_SECONDS, connections=connections)
    found: Found = {name: [] for name in loads}
    for _ in range(rounds):
        for name, each in loads.items():
            found[name].append(fire(each.server, each.path, each.body, seconds=seconds, connections=connections))
    return found


def summed(found: Found) -> dict[str, object]:
    """The medians of each."""
    return {
        name: {
            "requests_per_second": median(each.per_second for each in rounds),
            "cpu_us": median(each.cpu_us for each in rounds),
            "p50_ms": median(each.p50_ms for each in rounds),
            "p99_ms": median(each.p99_ms for each in rounds),
        }
        for name, rounds in found.items()
    }


def cpu(found: Found, ours: str, theirs: str) -> float:
    """Our CPU a request as a multiple of theirs."""
    return median(a.cpu_us / b.cpu_us for a, b in zip(found[ours], found[theirs], strict=True))


def rate(found: Found, ours: str, theirs: str) -> float:
    """Our requests a second as a multiple of theirs."""
    return median(a.per_second / b.per_second for a, b in zip(found[ours], found[theirs], strict=True))


class Bench:
    """The comparisons, each in rounds of its own."""

    def __init__(self, direct: Server, passing: Server, gateway: Server, *, rounds: int, seconds: float) -> None:
        self._direct, self._passing, self._gateway = direct, passing, gateway
        self._rounds, self._seconds = rounds, seconds

    def at_once(self, rival: Server | None) -> dict[str, object]:
        """The upstream without delay: everybody's own cost."""
        body = chat("route:at-once")
        loads = {
            "stanchion": Load(self._gateway, CHAT, body),
            "passing": Load(self._passing, "/0" + CHAT, body),
            "direct": Load(self._direct, "/0" + CHAT, body),
        }
        if rival is not None:
            loads["litellm"] = Load(rival, CHAT, chat("at-once"))
        found = self._measured(loads)
        figures = {**summed(found), "cpu_ratio": cpu(found, "stanchion", "passing")}
        if rival is not None:
            figures["times_litellm"] = rate(found, "stanchion", "litellm")
            figures["part_of_litellm_cpu"] = cpu(found, "stanchion", "litellm")
        return figures

    def in_20_ms(self, rival: Server | None) -> dict[str, object]:
        """The upstream that takes its time: what is left of the rate."""
        body = chat("route:in-20-ms")
        loads = {
            "stanchion": Load(self._gateway, CHAT, body),
            "passing": Load(self._passing, "/20" + CHAT, body),
            "direct": Load(self._direct, "/20" + CHAT, body),
        }
        if rival is not None:
            loads["litellm"] = Load(rival, CHAT, chat("in-20-ms"))
        found = self._measured(loads)
        shares = {f"{name}_of_direct": rate(found, name, "direct") for name in loads if name != "direct"}
        return {**summed(found), **shares}

    def streams(self, rival: Server | None) -> dict[str, object]:
        """Fifty chunks, each of which is read for its usage."""
        body = chat("route:at-once", stream=True)
        loads = {
            "stanchion": Load(self._gateway, CHAT, body),
            "passing": Load(self._passing, "/0" + CHAT, body),
        }
        if rival is not None:
            loads["litellm"] = Load(rival, CHAT, chat("at-once", stream=True))
        found = self._measured(loads, STREAMING)
        figures = {**summed(found), "cpu_ratio": cpu(found, "stanchion", "passing")}
        if rival is not None:
            figures["part_of_litellm_cpu"] = cpu(found, "stanchion", "litellm")
        return figures

    def cached(self) -> dict[str, object]:
        """The same request again and again, to a route that keeps answers."""
        body = chat("route:kept")
        loads = {"stanchion": Load(self._gateway, CHAT, body), "bare": Load(self._passing, "/bare", body)}
        found = self._measured(loads)
        return {**summed(found), "cpu_ratio": cpu(found, "stanchion", "bare")}

    def private(self, guarded: Server) -> dict[str, object]:
        """With texts looked through for personal data, beside the same without."""
        body = chat("route:at-once")
        loads = {"private": Load(guarded, CHAT, body), "stanchion": Load(self._gateway, CHAT, body)}
        found = self._measured(loads)
        return {**summed(found), "cpu_ratio": cpu(found, "private", "stanchion")}

    def _measured(self, loads: Mapping[str, Load], connections: int = CONNECTIONS) -> Found:
        return rounds_of(loads, rounds=self._rounds, seconds=self._seconds, connections=connections)


def rounded(found: object) -> object:
    """The same with four digits after the point."""
    if isinstance(found, dict):
        return {key: rounded(value) for key, value in found.items()}
    return round(found, 4) if isinstance(found, float) else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--no-rivals", action="store_true")
    asked = parser.parse_args()
    figures: dict[str, object] = {}
    with ExitStack() as held:
        direct = held.enter_context(sides.upstream())
        passing, ours = held.enter_context(sides.passing(direct)), held.enter_context(sides.gateway(direct))
        rival: Server | None = None
        if not asked.no_rivals:
            figures["litellm"] = about = {"version": sides.litellm_version()}
            try:
                rival, about["settings"] = held.enter_context(sides.litellm(direct))
            except subprocess.CalledProcessError as error:
                about["missing"] = f"not installed: {str(error.stderr or error.stdout)[-500:]}"
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                about["missing"] = str(error)[-500:]
        bench = Bench(direct, passing, ours, rounds=asked.rounds, seconds=asked.seconds)
        for name, measure in (("at_once", bench.at_once), ("in_20_ms", bench.in_20_ms), ("streams", bench.streams)):
            print(f"  {name} ...", file=sys.stderr, flush=True)
            figures[name] = measure(rival)
        figures["cached"] = bench.cached()
        with sides.gateway(direct, privacy=True) as guarded:
            figures["private"] = bench.private(guarded)
    print(json.dumps({"benchmark": "gateway/calls", **rounded(figures)}))  # type: ignore[dict-item]  # a dict


if __name__ == "__main__":
    main()
