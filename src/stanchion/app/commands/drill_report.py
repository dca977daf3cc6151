"""`stanchion drill report`: the whole ladder drilled under load, as its callers see it."""

from __future__ import annotations

import http.client
import json as jsonlib
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ...core.errors import InvalidInput, Unavailable, from_problem
from .office import DONE, FAILED, Options, run, show, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_THREADS = 4
_RECOVERY = 120.0
_TIMEOUT = 60.0
_COLOURS = ("#2563a8", "#4f9d8f", "#c79a2b", "#8f6bb3", "#9aa3ad", "#b8413b")


@dataclass(frozen=True, slots=True)
class Phase:
    """What was struck from `begins` on, in seconds since the start."""

    name: str
    begins: float
    struck: tuple[str, ...]


@dataclass(slots=True)
class Seen:
    """What callers and an onlooker saw; times are seconds since the start."""

    answers: list[tuple[float, str, float]] = field(default_factory=list)
    admitted: list[tuple[float, float]] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    failures: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Figures:
    """One phase in figures: shares of the answers by rung, and the time within which 95 % of them came."""

    phase: str
    calls: int
    failed: int
    rungs: Mapping[str, float]
    p95_ms: float


class Caller:
    """Asks the running system over one kept connection."""

    def __init__(self, url: str, key: str) -> None:
        place = urlsplit(url)
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        self._link = kind(str(place.hostname), place.port, timeout=_TIMEOUT)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON body. Raises Unavailable if nothing answers there."""
        content = None if body is None else jsonlib.dumps(body)
        try:
            self._link.request(method, path, content, self._headers)
            answer = self._link.getresponse()
            return answer.status, jsonlib.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException) as error:
            self._link.close()
            raise Unavailable(f"the system does not answer: {type(error).__name__}") from error

    def must(self, method: str, path: str, body: object = None) -> Any:
        """The body of an answer that must be a good one. Raises the error that the system tells."""
        status, document = self.ask(method, path, body)
        if status >= 400:
            raise from_problem(document)
        return document


def reported(
    model: str,
    *,
    url: str,
    key_file: Path,
    features: str,
    rate: float,
    seconds: float,
    output: Path | None,
    json: bool,
) -> int:
    """Drill, tell and draw; exit code 1 if a call failed."""
    options = Options(data=Path(), json=json)

    async def work() -> int:
        if not 1 <= rate <= 5000 or not 1 <= seconds <= 120:
            raise InvalidInput("the rate must be 1 to 5000 and a phase 1 to 120 seconds")
        key = key_file.read_text(encoding="utf-8").strip()
        caller = Caller(url, key)
        served = caller.must("GET", f"/v1/serving/models/{quote(model, safe='')}")
        given = _features(features) if features else example(served["input_schema"])
        rungs = [rung["name"] for rung in served["rungs"]]
        if len(rungs) < 2:
            raise InvalidInput(f"{model} has one rung only: there is nothing to fall back on")
        seen = _drilled(Load(url, key, model, given, rate), caller, model, rungs, seconds)
        figures = summary(seen)
        if output is not None:
            draw(seen, rungs, model, output)
        document = {
            "model": model,
            "rungs": rungs,
            "failed": sum(seen.failures.values()),
            "phases": [asdict(each) for each in figures],
        }
        show(options, document, lambda: _told(figures, sum(seen.failures.values()), output))
        return FAILED if seen.failures else DONE

    return run(options, work)


class Load:
    """Predictions at a steady rate from a few threads, until it is told to end."""

    def __init__(self, url: str, key: str, model: str, features: Mapping[str, Any], rate: float) -> None:
        self._callers = [Caller(url, key) for _ in range(_THREADS)]
        self._body = {"model_id": model, "features": features}
        self._between = _THREADS / rate
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._started = 0.0
        self.seen = Seen()

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def __enter__(self) -> Load:
        self._started = time.monotonic()
        self._threads = [threading.Thread(target=self._run, args=(caller,)) for caller in self._callers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, caller: Caller) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._between, time.monotonic() - 1)
            begun = time.monotonic()
            try:
                status, document = caller.ask("POST", "/v1/predictions", self._body)
            except Unavailable:
                status, document = 599, {}
            rung = document.get("served_by", "failed") if status == 200 else "failed"
            if rung == "failed":
                self.seen.failures[status] += 1
            self.seen.answers.append((begun - self._started, rung, time.monotonic() - begun))


def _drilled(load: Load, caller: Caller, model: str, rungs: Sequence[str], seconds: float) -> Seen:
    """Strike rung after rung, all but the last, then let them come back."""
    seen = load.seen
    with load:
        _phase(load, caller, model, Phase("all rungs", load.now(), ()), seconds)
        for number in range(1, len(rungs)):
            struck = tuple(rungs[:number])
            for rung in struck:
                # Begun anew in each phase, so that one drill's bound is a phase and not the whole report.
                body = {"model": model, "rung": rung, "mode": "error", "seconds": seconds + 5}
                caller.must("POST", "/v1/serving/drills", body)
            _phase(load, caller, model, Phase(f"without {', '.join(struck)}", load.now(), struck), seconds)
        caller.must("DELETE", f"/v1/serving/drills/{quote(model, safe='')}")
        seen.phases.append(Phase("recovery", load.now(), ()))
        ends = load.now() + _RECOVERY
        while _look(load, caller, model) < 1.0 and load.now() < ends:
            time.sleep(0.2)
        _phase(load, caller, model, Phase("all rungs again", load.now(), ()), seconds)
    return seen


def _phase(load: Load, caller: Caller, model: str, phase: Phase, seconds: float) -> None:
    load.seen.phases.append(phase)
    ends = load.now() + seconds
    while load.now() < ends:
        _look(load, caller, model)
        time.sleep(0.2)


def _look(load: Load, caller: Caller, model: str) -> float:
    """The share that the first rung's breaker admits now."""
    served = caller.must("GET", f"/v1/serving/models/{quote(model, safe='')}")
    admitted = float(served["rungs"][0]["admitted"])
    load.seen.admitted.append((load.now(), admitted))
    return admitted


def summary(seen: Seen) -> list[Figures]:
    """The figures of each phase."""
    ends = [phase.begins for phase in seen.phases[1:]] + [float("inf")]
    found = []
    for phase, end in zip(seen.phases, ends, strict=True):
        inside = [each for each in seen.answers if phase.begins <= each[0] < end]
        rungs = Counter(rung for _, rung, _ in inside)
        times = sorted(taken for _, _, taken in inside)
        found.append(
            Figures(
                phase=phase.name,
                calls=len(inside),
                failed=rungs.pop("failed", 0),
                rungs={rung: round(count / len(inside), 4) for rung, count in rungs.most_common()},
                p95_ms=round(times[int(0.95 * len(times))] * 1000, 2) if times else 0.0,
            )
        )
    return found


def example(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An instance with the required fields of an object schema, each as small as it may be."""
    required = schema.get("required", ())
    return {name: _small(schema["properties"][name]) for name in required}


def _small(field_schema: Mapping[str, Any]) -> Any:
    if "default" in field_schema:
        return field_schema["default"]
    if "enum" in field_schema:
        return field_schema["enum"][0]
    match field_schema.get("type"):
        case "integer" | "number":
            return field_schema.get("minimum", 1)
        case "boolean":
            return False
        case "string":
            return "x" * max(1, field_schema.get("minLength", 1))
    raise InvalidInput("an instance cannot be made from the input schema", next_step="Give one with --features.")


def _features(text: str) -> dict[str, Any]:
    try:
        given = jsonlib.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise InvalidInput("--features is no JSON object", next_step="""Write it as '{"months": 12}'.""")
    return given


def _told(figures: Sequence[Figures], failed: int, output: Path | None) -> str:
    rows = [
        (
            each.phase,
            f"{each.calls:,}",
            each.failed,
            f"{each.p95_ms:.2f}",
            ", ".join(f"{rung} {share:.0%}" for rung, share in each.rungs.items()),
        )
        for each in figures
    ]
    end = "no call failed" if not failed else f"{failed} calls failed"
    drawn = f"\n{output}" if output is not None else ""
    return table(("PHASE", "CALLS", "FAILED", "P95 MS", "ANSWERED BY"), rows) + f"\n\n{end}{drawn}"


def draw(seen: Seen, rungs: Sequence[str], model: str, output: Path) -> None:
    """Write the shares of the rungs over time, and below them what the first rung's breaker admitted."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise InvalidInput("the picture needs matplotlib", next_step="Install the extra `train`.") from error

    figure = Figure(figsize=(9, 5), dpi=120, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _shares(upper, seen, rungs)
    upper.set_ylabel("share of answers")
    upper.set_title(f"{model}: rung after rung fails, then recovers", fontsize=11, loc="left")
    lower.step(*zip(*seen.admitted, strict=True), where="post", color=_COLOURS[0], linewidth=1.6)
    lower.set_ylabel(f"{rungs[0]} admitted")
    lower.set_xlabel("seconds")
    lower.set_ylim(-0.05, 1.05)
    for axes in (upper, lower):
        for phase in seen.phases[1:]:
            axes.axvline(phase.begins, color="#00000055", linewidth=0.8, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    figure.savefig(output)


def _shares(axes: Axes, seen: Seen, rungs: Sequence[str]) -> None:
    """Stacked shares in half seconds."""
    length = 0.5
    slots = int(max(at for at, _, _ in seen.answers) / length) + 1
    counts = {name: [0] * slots for name in (*rungs, "failed")}
    for at, rung, _ in seen.answers:
        counts.setdefault(rung, [0] * slots)[int(at / length)] += 1
    totals = [max(1, sum(each[slot] for each in counts.values())) for slot in range(slots)]
    names = [name for name in counts if any(counts[name])]
    stacked = [[count / total for count, total in zip(counts[name], totals, strict=True)] for name in names]
    colours = [_COLOURS[-1] if name == "failed" else _COLOURS[list(counts).index(name) % 5] for name in names]
    axes.stackplot([slot * length for slot in range(slots)], stacked, labels=names, colors=colours, step="post")
    axes.set_ylim(0, 1)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=len(names), frameon=False, fontsize=9)
