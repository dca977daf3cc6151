"""Online reads of ten features beside Feast: 1 and 100 entities, from SQLite and from Redis.

Run: python benchmarks/features/feast_online.py [--rounds 5] [--seconds 1]. Both are libraries in a process of their
own over the same kind of store, filled with the same 1,000 entities, and read in turn. CPU is of the reading process,
all threads; that of the Redis server is not in it. Ratios are medians over the rounds, Feast to Stanchion in the same
round. Feast is installed by benchmarks/rivals/install.py. Redis is a server of this run's own; without `redis-server`
on the path that half is told as missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
RIVALS = HERE.parent / "rivals"
sys.path.insert(0, str(RIVALS))
import install  # noqa: E402 - lies beside the rivals

ENTITIES = 1_000
START_SECONDS = 120


class Reader:
    """One of the two processes."""

    def __init__(self, command: list[str | Path], env: dict[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process, see close()
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **env},
        )

    def told(self) -> dict[str, Any]:
        """The next line that is an object. Raises RuntimeError with the end of stderr if there is none."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        self._errors.seek(0)
        raise RuntimeError(f"the reader ended: {self._errors.read()[-2000:].decode(errors='replace')}")

    def read(self, keys: list[str], times: int) -> dict[str, Any]:
        """What so many reads of these keys cost."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"keys": keys, "times": times}) + "\n")
        self._process.stdin.flush()
        return self.told()

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._process.stdin.close() if self._process.stdin else None
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


@contextmanager
def reader(command: list[str | Path], **env: str) -> Iterator[Reader]:
    """A reader that has filled its store. Raises RuntimeError if it does not get that far."""
    made = Reader(command, env)
    try:
        made.told()
        yield made
    finally:
        made.close()


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis server of this run's own, which keeps nothing. Raises RuntimeError without one."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed: apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        else:
            raise RuntimeError("redis-server did not start")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def times_for(one: Reader, keys: list[str], seconds: float) -> int:
    """How many reads take about so long; the first ones warm up."""
    one.read(keys, 20)
    return max(10, int(seconds * 1e6 / one.read(keys, 20)["us"]))


def compared(ours: Reader, theirs: Reader, keys: list[str], *, rounds: int, seconds: float) -> dict[str, float]:
    """Both in turn. Raises RuntimeError if they do not read the same values."""
    mine, its = ours.read(keys, 1)["values"], theirs.read(keys, 1)["values"]
    if mine != its:
        raise RuntimeError(f"the two read other values: {mine[0]} and {its[0]}")
    counts = times_for(ours, keys, seconds), times_for(theirs, keys, seconds)
    pairs = [(ours.read(keys, counts[0]), theirs.read(keys, counts[1])) for _ in range(rounds)]
    return {
        "cpu_ratio": median(b["cpu_us"] / a["cpu_us"] for a, b in pairs),
        "cpu_ratio_least": min(b["cpu_us"] / a["cpu_us"] for a, b in pairs),
        "stanchion_cpu_us": median(a["cpu_us"] for a, _ in pairs),
        "feast_cpu_us": median(b["cpu_us"] for _, b in pairs),
        "stanchion_us": median(a["us"] for a, _ in pairs),
        "feast_us": median(b["us"] for _, b in pairs),
    }


def store(kind: str, *, rounds: int, seconds: float) -> dict[str, Any]:
    """The figures of one kind of store, or why there are none."""
    try:
        python = install.install("feast")
        with ExitStack() as held:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="stanchion-bench-")))
            url = [held.enter_context(redis(folder))] if kind == "redis" else []
            for name in ("ours", "theirs"):
                (folder / name).mkdir()
            ours = held.enter_context(reader([sys.executable, HERE / "feast_read.py", kind, folder / "ours", *url]))
            far: list[str | Path] = [python, RIVALS / "feast" / "read.py", kind, folder / "theirs", *url]
            theirs = held.enter_context(reader(far, PYTHONDONTWRITEBYTECODE="1"))
            return {
                f"entities_{count}": compared(
                    ours,
                    theirs,
                    [f"c{number * 7 % ENTITIES}" for number in range(count)],
                    rounds=rounds,
                    seconds=seconds,
                )
                for count in (1, 100)
            }
    except subprocess.CalledProcessError as error:
        return {"missing": f"not installed: {str(error.stderr or error.stdout)[-500:]}"}
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        return {"missing": str(error)[-500:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures: dict[str, Any] = {"version": install.version("feast", "feast")}
    for kind in ("sqlite", "redis"):
        figures[kind] = store(kind, rounds=asked.rounds, seconds=asked.seconds)
    rounded = {
        kind: {
            name: {key: round(value, 3) for key, value in each.items()} if isinstance(each, dict) else each
            for name, each in found.items()
        }
        if isinstance(found, dict)
        else found
        for kind, found in figures.items()
    }
    print(json.dumps({"benchmark": "features/feast_online", **rounded}))


if __name__ == "__main__":
    main()
