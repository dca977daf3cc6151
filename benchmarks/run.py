"""Runs every benchmark that has a target, says which targets hold, and keeps the figures with the machine's.

Run: python benchmarks/run.py [--data DATA] [--quick] [--only NAME] [--note TEXT]. It takes about forty minutes
(`--quick`: eleven, with figures too noisy to quote) and wants the machine for itself. Figures go to
benchmarks/results/DATE-CPU.json, and benchmarks/tables.py makes the tables of the guide from them. A benchmark that
fails or takes too long is told with its reason, its servers are ended, and the others go on. The exit code is 1 if a
target is missed or a benchmark failed; a rival that does not install here is told and misses nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent / "examples" / "churn" / "system.py"
sys.path.insert(0, str(HERE / "serving"))
from process import stanchion, stopped  # noqa: E402 - lies beside the servers

NAMED = (
    "stanchion",
    "aiohttp",
    "uvicorn",
    "uvloop",
    "httptools",
    "starlette",
    "msgspec",
    "onnxruntime",
    "numpy",
    "sqlalchemy",
)


@dataclass(frozen=True, slots=True)
class Target:
    """A figure of a benchmark, by its path in the answer, and its bound. Without a bound it is only told."""

    what: str
    benchmark: str
    path: tuple[str, ...]
    unit: str
    bound: Literal["at most", "at least"] | None = None
    value: float = 0.0

    def holds(self, figure: float) -> bool:
        """Whether the figure is within the bound."""
        if self.bound is None:
            return True
        return figure <= self.value if self.bound == "at most" else figure >= self.value


RIVALS = {"mlserver": "MLServer", "rayserve": "Ray Serve", "bentoml": "BentoML", "litserve": "LitServe"}
WAYS = {"predictions": "/v1/predictions", "infer": "/v2 infer"}


def beside(rival: str, variant: str) -> Iterator[Target]:
    """What is told of one rival; as it is documented there is a target, tuned there is none."""
    asked = variant == "documented"
    for way, words in WAYS.items():
        what = f"{RIVALS[rival]}{'' if asked else ', tuned'}: {words}"
        more, less = (("at least", 3.0), ("at most", 0.25)) if asked else ((None, 0.0), (None, 0.0))
        path = (rival, variant, way)
        yield Target(f"{what}, requests", "serving/rivals.py", (*path, "times_the_requests"), "x", *more)  # type: ignore[arg-type]  # a pair of bound and value
        yield Target(f"{what}, CPU", "serving/rivals.py", (*path, "part_of_the_cpu"), "x", *less)  # type: ignore[arg-type]  # see above


def feast(store: str, count: int) -> Target:
    """How many times Feast's CPU an online read takes."""
    path = (store, f"entities_{count}", "cpu_ratio")
    what = f"Feast, {store}, {count} {'entity' if count == 1 else 'entities'}: CPU"
    return Target(what, "features/feast_online.py", path, "x", "at least", 8)


def bounded(
    what: str, benchmark: str, path: tuple[str, ...], unit: str, *, most: float | None, least: float | None
) -> Target:
    """A figure with one bound, or none."""
    if most is not None:
        return Target(what, benchmark, path, unit, "at most", most)
    return (
        Target(what, benchmark, path, unit) if least is None else Target(what, benchmark, path, unit, "at least", least)
    )


def gateway(what: str, path: str, *, most: float | None = None, least: float | None = None) -> Target:
    """A figure of the gateway beside others; `path` is BENCHMARK/KEY or BENCHMARK/GROUP/KEY."""
    name, *steps = path.split("/")
    unit = "ms" if steps[-1].endswith("_ms") else "x"
    about = f"Gateway: {what}", f"gateway/{name}.py", tuple(steps), unit
    return bounded(*about, most=most, least=least)


def events(what: str, path: str, unit: str, *, most: float | None = None, least: float | None = None) -> Target:
    """A figure of events; `path` is BENCHMARK/KEY or BENCHMARK/BROKER/KEY."""
    name, *steps = path.split("/")
    about = f"Events: {what}", f"events/{name}.py", tuple(steps), unit
    return bounded(*about, most=most, least=least)


def runs(what: str, path: str, unit: str, *, most: float | None = None, least: float | None = None) -> Target:
    """A figure of durable runs on SQLite."""
    about = f"Runs: {what}", "pipelines/runs.py", ("sqlite", *path.split("/")), unit
    return bounded(*about, most=most, least=least)


def stage(what: str, name: str, most: float | None) -> Target:
    """A stage of the real-time path."""
    path = (f"{name}_p99_ms",)
    if most is None:
        return Target(f"Real time, p99: {what}", "serving/real_time.py", path, "ms")
    return Target(f"Real time, p99: {what}", "serving/real_time.py", path, "ms", "at most", most)


TARGETS = (
    Target("Gate, a call", "core/gate.py", ("gate_us",), "us CPU", "at most", 15),
    Target("Prediction: CPU of a bare handler", "serving/predictions.py", ("cpu_ratio",), "x", "at most", 2.0),
    Target("Prediction, /v2 infer: CPU of a bare handler", "serving/v2.py", ("cpu_ratio",), "x", "at most", 2.0),
    Target("Prediction, CPU", "serving/predictions.py", ("stanchion_cpu_us",), "us"),
    Target("Predictions", "serving/predictions.py", ("stanchion_requests_per_second",), "/s"),
    Target(
        "Trees, /v1/predictions: CPU of a bare handler",
        "serving/rivals.py",
        ("bare", "predictions_cpu_ratio"),
        "x",
        "at most",
        2.0,
    ),
    Target(
        "Trees, /v2 infer: CPU of a bare handler", "serving/rivals.py", ("bare", "infer_cpu_ratio"), "x", "at most", 2.0
    ),
    *(target for rival in RIVALS for target in beside(rival, "documented")),
    *(target for rival in RIVALS for target in beside(rival, "tuned")),
    *(feast(store, count) for store in ("sqlite", "redis") for count in (1, 100)),
    stage("cache hit, in the handler", "cache_hit_handler", 1),
    stage("features of 100 entities", "features_of_100", 10),
    stage("model", "model", 50),
    stage("whole call", "whole", 100),
    stage("whole call of 100 instances", "whole_of_100", None),
    Target("Cache, exact hit, p99", "serving/caching.py", ("exact_hit", "p99_ms"), "ms", "at most", 1),
    Target("Cache, hit by nearness, p99", "serving/caching.py", ("similar_hit", "p99_ms"), "ms"),
    Target("Batching: of the engine fed with full batches", "serving/batching.py", ("of_raw",), "x", "at least", 0.8),
    Target("Batching: calls of one instance without it", "serving/batching.py", ("times_single",), "x"),
    Target("Batch inference: of bare ONNX Runtime", "serving/batch.py", ("ratio",), "x"),
    Target("Point-in-time join: of SQL by hand", "features/point_in_time.py", ("ratio_to_hand_written",), "x"),
    Target("Windows, online: five over 100 events", "features/windows.py", ("online_100", "read_us"), "us"),
    Target("Windows, offline: of SQL by hand", "features/windows.py", ("offline", "ratio_to_hand_written"), "x"),
    Target("import stanchion", "serving/footprint.py", ("import_cpu_s",), "s CPU", "at most", 0.3),
    Target("stanchion --help", "serving/footprint.py", ("help_cpu_s",), "s CPU", "at most", 0.5),
    Target("Ready with a trained model", "serving/footprint.py", ("ready_cpu_s",), "s CPU", "at most", 5),
    Target("Memory, idle", "serving/footprint.py", ("idle_mb",), "MB", "at most", 250),
    Target("Memory after 1,000 requests", "serving/footprint.py", ("after_requests_mb",), "MB", "at most", 250),
    Target("Memory after the console", "serving/footprint.py", ("after_console_mb",), "MB", "at most", 250),
    gateway("LiteLLM's requests/s", "calls/at_once/times_litellm", least=40),
    gateway("LiteLLM's CPU", "calls/at_once/part_of_litellm_cpu", most=0.025),
    gateway("CPU of the least that passes on", "calls/at_once/cpu_ratio", most=2.2),
    gateway("20 ms upstream, of direct requests/s", "calls/in_20_ms/stanchion_of_direct", least=0.85),
    gateway("streams, CPU of the least that passes on", "calls/streams/cpu_ratio", most=2.5),
    gateway("streams, LiteLLM's CPU", "calls/streams/part_of_litellm_cpu"),
    gateway("exact cache hit, CPU of a bare handler", "calls/cached/cpu_ratio", most=1.5),
    gateway("with a privacy policy, CPU of without", "calls/private/cpu_ratio"),
    gateway("added at 200/s, p50", "steady/stanchion_added_p50_ms", most=1),
    gateway("added at 200/s, p99", "steady/stanchion_added_p99_ms", most=5),
    gateway("memory after, of before", "memory/growth", most=1.05),
    events("handled in batches, fsync at every commit", "embedded/batches_per_second", "/s", least=20_000),
    events("handled one by one, fsync at every commit", "embedded/one_by_one_per_second", "/s", least=5_000),
    events("to the handler at 500/s, p50, fsync", "embedded/delay_p50_ms", "ms", most=5),
    events("to the handler at 500/s, p99, fsync", "embedded/delay_p99_ms", "ms", most=25),
    events("NATS, in batches, of the bare client", "brokers/nats/batches_of_bare", "x", least=0.7),
    events("NATS, one by one, of the bare client", "brokers/nats/one_by_one_of_bare", "x", least=0.7),
    events("NATS, one by one, of unanswered acks", "brokers/nats/one_by_one_of_unanswered", "x"),
    events("Redis, in batches, of the bare client", "brokers/redis/batches_of_bare", "x", least=0.7),
    events("Redis, one by one, of the bare client", "brokers/redis/one_by_one_of_bare", "x", least=0.7),
    events("FastStream's CPU, each message", "brokers/nats/cpu_of_faststream_push", "x", most=0.5),
    events("FastStream's CPU, each message, pulled", "brokers/nats/cpu_of_faststream_pull", "x", most=0.5),
    events("FastStream's CPU, batches", "brokers/nats/cpu_of_faststream_batch", "x"),
    runs("steps/s of bare DBOS, one run", "steps_per_s/times_dbos/alone", "x", least=0.9),
    runs("steps/s of bare DBOS, 16 runs", "steps_per_s/times_dbos/many", "x", least=0.9),
    runs("10,000 waiting, memory", "waiting/megabytes", "MB", most=300),
    runs("10,000 waiting, of a core", "waiting/core", "x", most=0.05),
    runs("1,000 interrupted go on", "recovery/seconds", "s", most=30),
    Target("Audit, events appended", "core/audit.py", ("append_per_second",), "/s", "at least", 10_000),
    Target("Audit, events verified", "core/audit.py", ("verify_per_second",), "/s", "at least", 100_000),
)


@dataclass(frozen=True, slots=True)
class Script:
    """A benchmark: its arguments for a whole and for a quick run, and the seconds after which it is given up."""

    path: str
    whole: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    seconds: float = 240
    trained: bool = False


SHORT = ("--rounds", "1", "--seconds", "2")
SMALL = ("--rows", "50000", "--spine", "10000", "--rounds", "1")
SCRIPTS = (
    Script("core/gate.py", quick=("20000",)),
    Script("core/audit.py", quick=("20000",)),
    Script("serving/footprint.py", quick=("--starts", "1"), trained=True),
    Script("serving/predictions.py", ("--rounds", "5", "--seconds", "5"), SHORT, trained=True),
    Script("serving/rivals.py", quick=SHORT, seconds=900),
    Script("features/feast_online.py", quick=("--rounds", "1", "--seconds", "0.3"), seconds=420),
    Script("gateway/calls.py", ("--rounds", "3", "--seconds", "5"), SHORT, seconds=900),
    Script("gateway/steady.py", quick=SHORT),
    Script("gateway/memory.py", quick=("--requests", "2000", "--broken", "200"), seconds=420),
    Script("events/embedded.py", quick=("--rounds", "1", "--events", "5000", "--seconds", "3"), seconds=420),
    Script("events/brokers.py", quick=("--rounds", "1", "--events", "2000"), seconds=600),
    Script("pipelines/runs.py", quick=("--steps", "320", "--waiting", "200", "--interrupted", "20"), seconds=900),
    Script("serving/real_time.py", quick=("--seconds", "5")),
    Script("serving/v2.py", ("--rounds", "3", "--seconds", "5"), SHORT, trained=True),
    Script("serving/caching.py", quick=("--calls", "2000")),
    Script("serving/batching.py", quick=("--seconds", "1")),
    Script("serving/batch.py", ("--rows", "500000"), ("--rows", "50000", "--rounds", "1"), trained=True),
    Script("features/point_in_time.py", ("--rounds", "2"), (*SMALL, "--sample", "1000")),
    Script("features/windows.py", ("--rounds", "2"), SMALL),
)


def measured(script: Script, arguments: list[str]) -> dict[str, Any]:
    """The benchmark's answer: its last line, one JSON object; or `failed` with the reason."""
    command = [sys.executable, str(HERE / script.path), *arguments]
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(command, stdout=told)
        try:
            code = process.wait(script.seconds)
        except subprocess.TimeoutExpired:
            return {"failed": f"it was not done after {script.seconds:g} s"}
        finally:
            # Told to end first, so that it ends its own servers; then what is left is killed.
            stopped(process, seconds=60)
        told.seek(0)
        printed = told.read().decode(errors="replace").strip()
    if code != 0:
        return {"failed": f"it ended with code {code}; its error stands above"}
    try:
        return answer(printed)
    except json.JSONDecodeError:
        return {"failed": f"it ended without an answer: {printed[-300:]}"}


def answer(printed: str) -> dict[str, Any]:
    """The JSON object that a benchmark ends with: its last line, or all it printed. Raises JSONDecodeError."""
    last = printed.rpartition("\n")[2]
    found: dict[str, Any] = json.loads(last if last.startswith("{") else printed)
    return found


class Trained:
    """A data folder with the example's trained model: the given one, or one that is made when it is first wanted."""

    def __init__(self, given: Path | None, held: ExitStack) -> None:
        self._found, self._held = given, held

    def folder(self) -> Path:
        """The folder. Raises RuntimeError with the end of its stderr if the training fails."""
        if self._found is None:
            made = Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="stanchion-bench-"))) / "data"
            with stanchion(EXAMPLE, made):
                self._found = made
        return self._found


def all_measured(given: Path | None, *, quick: bool, only: str | None) -> dict[str, dict[str, Any]]:
    """The answers by script, in the order of SCRIPTS."""
    figures: dict[str, dict[str, Any]] = {}
    with ExitStack() as held:
        data = Trained(given, held)
        for script in [script for script in SCRIPTS if only in (None, script.path)]:
            print(f"benchmarks/{script.path} ...", file=sys.stderr, flush=True)
            began = time.monotonic()
            try:
                folder = ["--data", str(data.folder())] if script.trained else []
                figures[script.path] = measured(script, [*(script.quick if quick else script.whole), *folder])
            except RuntimeError as error:
                figures[script.path] = {"failed": str(error)[-1000:]}
            told = figures[script.path].get("failed", "done")
            print(f"  {told}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return figures


def machine() -> dict[str, Any]:
    """What the figures were measured on; nothing that names the machine itself."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": model[1].strip() if model else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {name: version(name) for name in NAMED},
    }


def verdicts(figures: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every target with its figure and whether it holds; None where there is no figure."""
    told = []
    for target in TARGETS:
        found: Any = figures.get(target.benchmark)
        for step in target.path:
            found = found.get(step) if isinstance(found, dict) else None
        told.append(
            {
                "what": target.what,
                "benchmark": target.benchmark,
                "figure": found,
                "unit": target.unit,
                "target": f"{target.bound} {target.value:g}" if target.bound else "",
                "holds": None if found is None else target.holds(found),
            }
        )
    return told


def table(rows: list[dict[str, Any]]) -> str:
    """The verdicts for people."""
    words = {None: "not measured", True: "holds", False: "MISSED"}
    cells = [("", "figure", "target", "")]
    for row in rows:
        verdict = words[row["holds"]] if row["target"] else ""
        cells.append((row["what"], f"{_figure(row['figure'])} {row['unit']}", row["target"], verdict))
    widths = [max(len(cell[column]) for cell in cells) for column in range(4)]
    return "\n".join(
        "  ".join(part.ljust(width) for part, width in zip(cell, widths, strict=True)).rstrip() for cell in cells
    )


def _figure(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a data folder with the example's trained model; it is copied")
    parser.add_argument("--quick", action="store_true", help="a smoke test; nothing is kept")
    parser.add_argument("--only", choices=[script.path for script in SCRIPTS], help="this one; nothing is kept")
    parser.add_argument("--note", default="", help="what a reader of the figures should know")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    about = machine()
    figures = all_measured(asked.data, quick=asked.quick, only=asked.only)
    rows = verdicts(figures)
    print(table([row for row in rows if asked.only in (None, row["benchmark"])]))
    if not asked.quick and asked.only is None:
        now = datetime.now(UTC)
        slug = re.sub(r"[^a-z0-9]+", "-", about["cpu"].lower()).strip("-")
        about["load_after"] = round(os.getloadavg()[0], 2)
        kept = {"at": now.isoformat(timespec="seconds"), "machine": about, "note": asked.note, "targets": rows}
        place = HERE / "results" / f"{now:%Y-%m-%d}-{slug}.json"
        place.write_text(json.dumps({**kept, "figures": figures}, indent=2) + "\n")
        print(f"\n{place.relative_to(HERE.parent)}")
    failed = any("failed" in found for found in figures.values())
    return 1 if failed or any(row["holds"] is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
