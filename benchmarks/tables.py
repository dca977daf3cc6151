"""Makes the tables of the guide from a kept run: targets, servers, feature stores, gateways, events and stages.

Run: python benchmarks/tables.py benchmarks/results/FILE.json [--write]. With `--write` they replace what stands between
the two marks in docs/guide/benchmarks.md; without it they are printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guide" / "benchmarks.md"
BEGIN, END = "<!-- figures: python benchmarks/tables.py FILE --write -->", "<!-- end of figures -->"
NAMES = {"mlserver": "MLServer", "rayserve": "Ray Serve", "bentoml": "BentoML", "litserve": "LitServe"}
STAGES = {
    "cache_hit_handler": "cache hit, in the handler",
    "features_of_1": "features of 1 entity",
    "features_of_100": "features of 100 entities",
    "model": "model, 1 or 100 rows",
    "whole_of_hits": "whole call, cache hits alone",
    "whole": "whole call, all",
    "whole_of_100": "whole call, 100 instances",
    "driver_late": "of a whole call: the driver itself was late",
}
GATEWAYS = {
    "at_once": "upstream without delay",
    "in_20_ms": "upstream of 20 ms",
    "streams": "streams of 50 chunks",
    "cached": "exact cache hit",
    "private": "with a privacy policy",
}
SIDES = {
    "stanchion": "Stanchion",
    "private": "Stanchion, privacy",
    "passing": "the least that passes on",
    "direct": "the upstream itself",
    "bare": "bare handler",
}
HANDLERS = {
    "batches": "batches of 100",
    "bare_batches": "bare client, batches of 100",
    "faststream_batch": "FastStream, batches of 100",
    "one_by_one": "one by one",
    "bare_one_by_one": "bare client, one by one",
    "faststream_pull": "FastStream, pulled",
    "faststream_push": "FastStream, pushed",
}
WORDS = {None: "not measured", True: "holds", False: "missed"}


def made(run: dict[str, Any], name: str) -> str:
    """All tables of one run, with the machine and the load it was under."""
    machine, figures = run["machine"], run["figures"]
    loads = f"load average {machine['load_before']} before"
    loads += f" and {machine['load_after']} after" if "load_after" in machine else ""
    head = (
        f"`benchmarks/results/{name}`: {machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, {loads}. {run['note']}".strip()
    )
    found = {
        "Targets": targets(run["targets"]),
        "Beside other servers": servers(figures.get("serving/rivals.py", {})),
        "Beside Feast": stores(figures.get("features/feast_online.py", {})),
        "Beside other gateways": gateways(figures.get("gateway/calls.py", {})),
        "Events over brokers": brokers(figures.get("events/brokers.py", {})),
        "The real-time path": stages(figures.get("serving/real_time.py", {})),
    }
    tables = [f"### {title}\n\n{table}" for title, table in found.items() if table]
    return "\n\n".join([head, *failures(figures), *tables])


def failures(figures: dict[str, Any]) -> list[str]:
    """The benchmarks that gave no figures."""
    return [
        f"`benchmarks/{name}` gave no figures: {each['failed']}" for name, each in figures.items() if "failed" in each
    ]


def targets(rows: Iterable[dict[str, Any]]) -> str:
    """Each figure with its target and verdict."""
    cells = [
        (
            row["what"],
            f"{_number(row['figure'])} {row['unit']}",
            row["target"],
            WORDS[row["holds"]] if row["target"] else "",
        )
        for row in rows
    ]
    return _table(("", "figure", "target", ""), cells)


def servers(found: dict[str, Any]) -> str:
    """Each rival as documented and tuned: what it does alone, and Stanchion beside it in the same rounds."""
    cells: list[Sequence[str]] = []
    for name, words in NAMES.items():
        for variant, each in found.get(name, {}).items():
            who = f"{words} {each['version']}, {variant}"
            if "missing" in each:
                cells.append((who, "not measured: " + each["missing"].splitlines()[-1][:120], *[""] * 6))
                continue
            ours = [
                figure
                for way in ("predictions", "infer")
                for figure in (f"{each[way]['times_the_requests']:.1f} x", f"{each[way]['part_of_the_cpu']:.2f} x")
            ]
            alone = (f"{each['requests_per_second']:,.0f}", f"{each['cpu_us']:,.0f} us")
            cells.append((who, each["settings"], *alone, *ours))
    if bare := found.get("bare"):
        for way, path in (("predictions", "`/v1/predictions`"), ("infer", "`/v2` infer")):
            for who, key in (("Stanchion", way), ("bare handler", f"bare_{way}")):
                alone = (f"{bare[key]['requests_per_second']:,.0f}", f"{bare[key]['cpu_us']:,.0f} us")
                cells.append((f"{who}, {path}", "beside each other", *alone, *[""] * 4))
    head = ("", "settings", "requests/s", "CPU", "v1: requests", "v1: CPU", "v2: requests", "v2: CPU")
    return _table(head, cells)


def stores(found: dict[str, Any]) -> str:
    """One row for each store and number of entities."""
    cells: list[Sequence[str]] = []
    for store in ("sqlite", "redis"):
        each = found.get(store, {})
        if "missing" in each:
            cells.append((store, "not measured: " + each["missing"].splitlines()[-1][:120], "", ""))
        for count in (1, 100):
            if row := each.get(f"entities_{count}"):
                ours, theirs = f"{row['stanchion_cpu_us']:,.0f} us", f"{row['feast_cpu_us']:,.0f} us"
                cells.append((f"{store}, entities: {count}", ours, theirs, f"{row['cpu_ratio']:.1f} x"))
    return _table(("", "Stanchion, CPU a read", f"Feast {found.get('version', '')}, CPU a read", "ratio"), cells)


def gateways(found: dict[str, Any]) -> str:
    """Each load with everybody that was asked in its rounds, and Stanchion's CPU beside theirs."""
    rival = found.get("litellm", {})
    sides = {**SIDES, "litellm": f"LiteLLM {rival.get('version', '')}"}
    cells: list[Sequence[str]] = []
    for name, words in GATEWAYS.items():
        asked = {side: each for side, each in found.get(name, {}).items() if side in sides}
        for side, each in asked.items():
            times = (f"{each['p50_ms']:,.1f} ms", f"{each['p99_ms']:,.1f} ms")
            cells.append(
                (words, sides[side], f"{each['requests_per_second']:,.0f}", f"{each['cpu_us']:,.0f} us", *times)
            )
    if "missing" in rival:
        cells.append(("", sides["litellm"], "not measured: " + rival["missing"].splitlines()[-1][:120], *[""] * 3))
    return _table(("", "", "requests/s", "CPU", "median", "99th percentile"), cells)


def brokers(found: dict[str, Any]) -> str:
    """Handlers over each broker, beside the bare client and FastStream."""
    cells: list[Sequence[str]] = []
    for broker, name in (("nats", "NATS, synced by its interval"), ("redis", "Redis, appendfsync always")):
        each = found.get(broker, {})
        for side, words in HANDLERS.items():
            if side in each:
                rate, cpu = each[side]["per_second"], each[side]["cpu_us"]
                cells.append((name, words, f"{rate:,.0f}", f"{cpu:,.0f} us"))
        if "missing" in each:
            cells.append((name, "FastStream not measured: " + each["missing"].splitlines()[-1][:120], "", ""))
    return _table(("", "", "handled/s", "CPU a message"), cells)


def stages(found: dict[str, Any]) -> str:
    """Median and 99th percentile of each stage."""
    cells = [
        (words, f"{found[f'{name}_p50_ms']:.2f} ms", f"{found[f'{name}_p99_ms']:.2f} ms")
        for name, words in STAGES.items()
        if f"{name}_p99_ms" in found
    ]
    return _table(("", "median", "99th percentile"), cells)


def _table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    if not cells:
        return ""
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(figure: float | None) -> str:
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--write", action="store_true", help="into the guide")
    asked = parser.parse_args()
    text = made(json.loads(asked.file.read_text()), asked.file.name)
    if not asked.write:
        print(text)
        return 0
    guide = GUIDE.read_text()
    before, mark, rest = guide.partition(BEGIN)
    _, last, after = rest.partition(END)
    if not (mark and last):
        print(f"{GUIDE} lacks the marks {BEGIN} and {END}", file=sys.stderr)
        return 1
    GUIDE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
