"""Stanchion side by side with MLServer, Ray Serve, BentoML and LitServe: one model, one machine, one client.

Run: python benchmarks/serving/rivals.py [--rounds 3] [--seconds 3] [--only mlserver]. The model is trained here: 100
trees on 20 numbers (peers_model.py). Rivals are installed by benchmarks/rivals/install.py into environments of their
own, and each is run twice: as its own documentation serves such a model, and tuned. Each stands alone beside Stanchion,
and both are loaded in turn, round by round, by wrk over 32 kept connections; ratios are medians over the rounds, of
Stanchion to the other in the same round. CPU is of the whole process tree. Stanchion has everything on: callers
checked, calls gated, every request in the ledger; the others check nobody and record nothing. `bare` is the least that
could serve the model. A rival that cannot be installed or started is told with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import peers_row as row
from process import Round, Server, fire, stanchion, started

HERE = Path(__file__).resolve().parent
RIVALS = HERE.parent / "rivals"
sys.path.insert(0, str(RIVALS))
import install  # noqa: E402 - lies beside the rivals

SYSTEM = HERE / "peers_system.py"
WARM_SECONDS = 1
CLOSE = 1e-5
OURS = {"predictions": (row.PREDICTIONS, row.named), "infer": (row.INFER, row.tensor)}


@dataclass(frozen=True, slots=True)
class Rival:
    """The package whose version is told, and how this server is asked for the row."""

    package: str
    path: str
    body: Callable[[], bytes]


WHO = {
    "mlserver": Rival("mlserver", row.INFER, row.tensor),
    "rayserve": Rival("ray", row.PREDICTIONS, row.named),
    "bentoml": Rival("bentoml", "/predict", row.matrix),
    "litserve": Rival("litserve", "/predict", row.plain),
}


@contextmanager
def bare(package: Path) -> Iterator[Server]:
    """The bare handler, in our own environment."""
    with started([sys.executable, HERE / "peers_bare.py", package]) as (server, _):
        yield server


@contextmanager
def rival(name: str, variant: str, package: Path) -> Iterator[tuple[Server, str]]:
    """A rival's server, installed first if need be, and its settings in words."""
    python = install.install(name)
    folder = RIVALS / name
    env = {
        # Worker processes of the rivals import the model's code as well.
        "PYTHONPATH": os.pathsep.join(str(each) for each in (HERE, RIVALS, folder)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "BENCH_PACKAGE": str(package),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Else Ray writes a token into the home folder.
        "RAY_AUTH_MODE": "disabled",
    }
    with started([python, folder / "serve.py", variant], env=env) as (server, ready):
        yield server, str(ready["settings"])


def same(server: Server, path: str, body: bytes, wanted: float) -> None:
    """Raise RuntimeError unless the server gives the probability that LightGBM gives."""
    told = row.probability(server.post(path, body))
    if abs(told - wanted) > CLOSE:
        raise RuntimeError(f"{server.url}{path} says {told}, the model {wanted}: it is another model")


def rounds_of(loads: Mapping[str, tuple[Server, str, bytes]], *, rounds: int, seconds: float) -> dict[str, list[Round]]:
    """Load each in turn, after a short one that does not count."""
    for server, path, body in loads.values():
        fire(server, path, body, seconds=WARM_SECONDS)
    found: dict[str, list[Round]] = {name: [] for name in loads}
    for _ in range(rounds):
        for name, (server, path, body) in loads.items():
            found[name].append(fire(server, path, body, seconds=seconds))
    return found


def summed(rounds: list[Round]) -> dict[str, float]:
    """The medians of some rounds."""
    return {
        "requests_per_second": median(each.per_second for each in rounds),
        "cpu_us": median(each.cpu_us for each in rounds),
        "p50_ms": median(each.p50_ms for each in rounds),
        "p99_ms": median(each.p99_ms for each in rounds),
    }


def ratios(ours: list[Round], theirs: list[Round]) -> dict[str, float]:
    """How many times the requests a second, and which part of the CPU a request, within the same round."""
    return {
        "times_the_requests": median(a.per_second / b.per_second for a, b in zip(ours, theirs, strict=True)),
        "part_of_the_cpu": median(a.cpu_us / b.cpu_us for a, b in zip(ours, theirs, strict=True)),
        "part_of_the_cpu_most": max(a.cpu_us / b.cpu_us for a, b in zip(ours, theirs, strict=True)),
    }


class Side:
    """Stanchion, and what it is compared with one after the other."""

    def __init__(self, ours: Server, package: Path, wanted: float, *, rounds: int, seconds: float) -> None:
        self._ours = {name: (ours, path, body()) for name, (path, body) in OURS.items()}
        self._package, self._wanted = package, wanted
        self._rounds, self._seconds = rounds, seconds
        for server, path, body in self._ours.values():
            same(server, path, body, wanted)

    def bare(self) -> dict[str, object]:
        """Stanchion's two ways beside the bare handler's two."""
        with bare(self._package) as server:
            theirs = {f"bare_{name}": (server, path, body()) for name, (path, body) in OURS.items()}
            for each in theirs.values():
                same(*each, self._wanted)
            found = rounds_of({**self._ours, **theirs}, rounds=self._rounds, seconds=self._seconds)
        figures: dict[str, object] = {name: summed(rounds) for name, rounds in found.items()}
        for name in OURS:
            cpu = [a.cpu_us / b.cpu_us for a, b in zip(found[name], found[f"bare_{name}"], strict=True)]
            figures[f"{name}_cpu_ratio"] = median(cpu)
        return figures

    def rival(self, name: str, variant: str) -> dict[str, object]:
        """Stanchion's two ways beside a rival's one, or why there is no comparison."""
        about: dict[str, object] = {"version": install.version(name, WHO[name].package)}
        path, body = WHO[name].path, WHO[name].body()
        try:
            with rival(name, variant, self._package) as (server, settings):
                about["settings"] = settings
                same(server, path, body, self._wanted)
                loads = {**self._ours, "rival": (server, path, body)}
                found = rounds_of(loads, rounds=self._rounds, seconds=self._seconds)
        except subprocess.CalledProcessError as error:
            return {**about, "missing": f"not installed: {str(error.stderr or error.stdout)[-500:]}"}
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            return {**about, "missing": str(error)[-500:]}
        for ours in OURS:
            about[ours] = {**summed(found[ours]), **ratios(found[ours], found["rival"])}
        return {**about, **summed(found["rival"])}


def rounded(found: object) -> object:
    """The same with three digits after the point."""
    if isinstance(found, dict):
        return {key: rounded(value) for key, value in found.items()}
    return round(found, 3) if isinstance(found, float) else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", choices=("bare", *WHO), help="this one alone")
    asked = parser.parse_args()
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as folder:
        package, data = Path(folder) / "package", Path(folder) / "data"
        wanted = prepared(package, data)
        with stanchion(SYSTEM, data) as ours:
            side = Side(ours, package, wanted, rounds=asked.rounds, seconds=asked.seconds)
            if asked.only in (None, "bare"):
                figures["bare"] = side.bare()
            for name in WHO:
                for variant in ("documented", "tuned") if asked.only in (None, name) else ():
                    print(f"  {name}, {variant} ...", file=sys.stderr, flush=True)
                    figures.setdefault(name, {})[variant] = side.rival(name, variant)  # type: ignore[index]  # a dict
    print(json.dumps({"benchmark": "serving/rivals", **rounded(figures)}))  # type: ignore[dict-item]  # a dict


def prepared(package: Path, data: Path) -> float:
    """Train, in a process that ends, so that its memory is not in the way; the probability of the row."""
    code = (
        "import sys; from pathlib import Path; import peers_model as model; import peers_system as system; "
        "package, data = map(Path, sys.argv[1:]); model.write(package); "
        "model.register(package, data, system.Numbers, system.Score); print(model.expected(package))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, package, data],
        cwd=HERE,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return float(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
