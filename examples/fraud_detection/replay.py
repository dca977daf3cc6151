"""Live payments for a running fraud system: each is judged, then pushed; afterwards the labels come back.

Run: python examples/fraud_detection/replay.py [--url URL] [--key-file FILE] [--seconds 20] [--rate 50].

Owners pay as they did in the generated stream; meanwhile a few of their cards are in the hands of thieves. It says
what was allowed, checked and blocked, how long an answer took as the caller saw it, how good the model was by labels,
and whether any feature that was served differs from what training would have read.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy
import pandas
from payments import ONLINE, table

FOLDER = Path(os.environ.get("FRAUD_DATA", Path(__file__).parent / "data"))
THIEVES = 8
STOLEN = 0.05  # of the payments


class Line:
    """One kept connection to the API."""

    def __init__(self, url: str, key: str) -> None:
        place = urlsplit(url)
        self._link = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer. Raises RuntimeError with the problem's detail if the request was refused."""
        self._link.request(method, path, None if body is None else json.dumps(body), self._headers)
        answer = self._link.getresponse()
        content = json.loads(answer.read())
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {content.get('detail')}")
        return content


def payments(draw: numpy.random.Generator) -> Iterator[tuple[str, float, str, str, bool]]:
    """Payments without end: card, amount, category, merchant, and whether a thief makes it."""
    stream = pandas.read_parquet(table(None, FOLDER))
    usual = stream.groupby("card_id")["amount"].mean()
    robbed = draw.choice(usual.index.to_numpy(), THIEVES, replace=False)
    while True:
        if draw.random() < STOLEN:
            card = str(draw.choice(robbed))
            amount = round(float(usual[card] * draw.uniform(1, 5)), 2)
            yield card, amount, str(draw.choice(ONLINE)), f"m{draw.integers(1200):04}", True
        else:
            row = stream.iloc[int(draw.integers(len(stream)))]
            yield row["card_id"], float(row["amount"]), row["category"], row["merchant"], False


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--url", default="http://127.0.0.1:8080")
    asked.add_argument("--key-file", type=Path, default=Path(".stanchion/dev.key"))
    asked.add_argument("--seconds", type=float, default=20)
    asked.add_argument("--rate", type=float, default=50, help="payments a second")
    given = asked.parse_args()
    line = Line(given.url, given.key_file.read_text().strip())
    draw = numpy.random.default_rng()
    run = f"{time.time_ns():x}"
    truths, verdicts, times = [], Counter[tuple[bool, str]](), []
    started = time.perf_counter()
    for number, (card, amount, category, merchant, stolen) in enumerate(payments(draw)):
        due = started + number / given.rate
        if due > started + given.seconds:
            break
        time.sleep(max(0.0, due - time.perf_counter()))
        features = {"card_id": card, "amount": amount, "category": category, "merchant": merchant}
        begun = time.perf_counter()
        answer = line.ask("POST", "/v1/predictions", {"model_id": "fraud", "features": features})
        times.append(time.perf_counter() - begun)
        verdicts[stolen, answer["prediction"]] += 1
        truths.append({"request_id": answer["request_id"], "label": int(stolen)})
        now = datetime.now(UTC).isoformat()
        values = {"payment_id": f"{run}-{number}", "card_id": card, "amount": amount, "merchant": merchant}
        row = {"key": card, "at": now, "values": {**values, "at": now, "known_at": now}}
        line.ask("POST", "/v1/features/card_spending/push", {"rows": [row]})
    for first in range(0, len(truths), 500):
        line.ask("POST", "/v1/feedback", {"items": truths[first : first + 500]})
    told(line, verdicts, numpy.array(times) * 1000)


def told(line: Line, verdicts: Counter[tuple[bool, str]], milliseconds: Any) -> None:
    """What happened, for people."""
    print(f"{'':14}{'allow':>8}{'check':>8}{'block':>8}")
    for stolen, name in ((False, "owner"), (True, "thief")):
        print(f"{name:14}" + "".join(f"{verdicts[stolen, verdict]:8}" for verdict in ("allow", "check", "block")))
    p50, p99 = numpy.percentile(milliseconds, [50, 99])
    print(f"answers: {len(milliseconds)}, half within {p50:.1f} ms, 99 of 100 within {p99:.1f} ms")
    for version in line.ask("GET", "/v1/serving/models/fraud/quality")["versions"]:
        print(f"version {version['version']}: {version['labelled']} labels, ROC AUC {version['roc_auc']}")
    skew = line.ask("GET", "/v1/features/services/card_behaviour/skew")
    print(f"features: {skew['compared']} served vectors compared with the offline join, {skew['different']} differ")


if __name__ == "__main__":
    main()
