"""What the example costs before anybody asks it anything: start-up in seconds of CPU, and memory in MB.

Run: python benchmarks/serving/footprint.py [--data DATA] [--starts 5]. CPU is user and system time as the kernel
counts it, children included, so other work on the machine changes it little. Memory is resident: after ten idle
seconds, after 1,000 requests, and after a login and three pages of the console and the API's documentation.
"""

from __future__ import annotations

import argparse
import http.client
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlencode, urlsplit

from predictions import BODY, PATH, stanchion, trained
from process import Server

IDLE_SECONDS = 10
REQUESTS = 1_000


def cpu_of(code: str) -> float:
    """CPU seconds of a Python process that runs the code, without those of one that runs nothing."""
    return _spent(["-c", code]) - _spent(["-c", "pass"])


def _spent(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def memory(data: Path) -> dict[str, float]:
    """Resident memory of one server as it is used."""
    with stanchion(data) as server:
        server.post(PATH, BODY)
        time.sleep(IDLE_SECONDS)
        found = {"idle_mb": server.memory()}
        for _ in range(REQUESTS):
            server.post(PATH, BODY)
        time.sleep(1)
        found["after_requests_mb"] = server.memory()
        cookie = signed_in(server)
        for path in ("/console/", "/console/models", "/console/observe", "/docs", "/openapi.json"):
            server.ask("GET", path, headers={"Cookie": cookie})
        found["after_console_mb"] = server.memory()
        return found


def signed_in(server: Server) -> str:
    """The cookie of a session at the console."""
    place = urlsplit(server.url)
    link = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    form = urlencode({"key": server.key or "", "next": "/console/"})
    link.request("POST", "/console/login", form, {"Content-Type": "application/x-www-form-urlencoded"})
    answer = link.getresponse()
    answer.read()
    link.close()
    cookie = answer.getheader("Set-Cookie")
    if cookie is None:
        raise RuntimeError(f"the console refused the development key: {answer.status}")
    return cookie.partition(";")[0]


def starts(data: Path, times: int) -> dict[str, float]:
    """CPU until the ready line, with a trained model."""
    spent = []
    for _ in range(times):
        with stanchion(data) as server:
            spent.append(server.cpu())
    return {"ready_cpu_s": median(spent), "ready_cpu_most_s": max(spent)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--starts", type=int, default=5)
    asked = parser.parse_args()
    figures = {
        "import_cpu_s": median(cpu_of("import stanchion") for _ in range(asked.starts)),
        "help_cpu_s": median(_spent(["-m", "stanchion", "--help"]) for _ in range(asked.starts)),
    }
    with trained(asked.data) as data:
        figures |= starts(data, asked.starts)
        figures |= memory(data)
    print(json.dumps({"benchmark": "serving/footprint", **{k: round(v, 3) for k, v in figures.items()}}))


if __name__ == "__main__":
    main()
