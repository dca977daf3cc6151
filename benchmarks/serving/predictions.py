"""What a prediction costs with everything on, against a bare handler around the same ONNX session.

Run: python benchmarks/serving/predictions.py [--data DATA] [--rounds 5] [--seconds 8]. Both run as a server process
of their own and are loaded in turn by the same client. CPU is all that the server process used, the writer of the
ledger included; figures are medians of the rounds, and the ratio is the median of each round's ratio. Without
`--data` the example is trained first, which takes a minute.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from package import MODEL, unpack
from process import Round, Server, fire, started

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parents[1] / "examples" / "churn" / "system.py"
PATH = "/v1/predictions"
BODY = json.dumps(
    {"model_id": MODEL, "features": {"customer_id": "12345", "tenure_months": 24, "monthly_charges": 89.99}}
).encode()
WARM_SECONDS = 2


@contextmanager
def trained(given: Path | None) -> Iterator[Path]:
    """A data folder of this run's own with a trained model: a copy of the given one, or a new one."""
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as name:
        data = Path(name) / "data"
        if given is not None:
            shutil.copytree(given, data)
        else:
            with stanchion(data):
                pass
        yield data


@contextmanager
def stanchion(data: Path) -> Iterator[Server]:
    """The example, served as the README says: callers checked, calls gated, every request in the ledger."""
    command = [sys.executable, "-m", "stanchion", "run", EXAMPLE, "--data", data, "--port", "0", "--json"]
    with started(command) as (server, ready):
        key = Path(str(ready["key_file"])).read_text().strip()
        yield Server(server.pid, server.url, key)


@contextmanager
def bare(package: Path) -> Iterator[Server]:
    """The bare handler."""
    with started([sys.executable, HERE / "bare.py", package]) as (server, _):
        yield server


def compared(ours: Server, theirs: Server, *, rounds: int, seconds: float) -> dict[str, float]:
    """Load both in turn, and sum up."""
    same = [json.loads(each.post(PATH, BODY))["probability"] for each in (ours, theirs)]
    if abs(same[0] - same[1]) > 1e-6:
        raise RuntimeError(f"the two do not run the same model: {same}")
    for each in (ours, theirs):
        fire(each, PATH, BODY, seconds=WARM_SECONDS)
    pairs = [
        (fire(ours, PATH, BODY, seconds=seconds), fire(theirs, PATH, BODY, seconds=seconds)) for _ in range(rounds)
    ]
    found = {
        "cpu_ratio": median(a.cpu_us / b.cpu_us for a, b in pairs),
        "cpu_ratio_least": min(a.cpu_us / b.cpu_us for a, b in pairs),
        "cpu_ratio_most": max(a.cpu_us / b.cpu_us for a, b in pairs),
    }
    for name, these in (("stanchion", [a for a, _ in pairs]), ("bare", [b for _, b in pairs])):
        found |= {f"{name}_{key}": value for key, value in summed(these).items()}
    return found


def summed(rounds: list[Round]) -> dict[str, float]:
    """The medians of some rounds."""
    return {
        "cpu_us": median(each.cpu_us for each in rounds),
        "requests_per_second": median(each.per_second for each in rounds),
        "p50_ms": median(each.p50_ms for each in rounds),
        "p99_ms": median(each.p99_ms for each in rounds),
        "requests": sum(each.requests for each in rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    asked = parser.parse_args()
    with trained(asked.data) as data:
        package = data.parent / "package"
        unpack(data, package)
        with stanchion(data) as ours, bare(package) as theirs:
            figures = compared(ours, theirs, rounds=asked.rounds, seconds=asked.seconds)
    print(json.dumps({"benchmark": "serving/predictions", **{k: round(v, 3) for k, v in figures.items()}}))


if __name__ == "__main__":
    main()
