"""A running system is killed again and again at random moments: what it had promised holds, and nothing is half-done.

One data folder is kept for all kills of a series, so that damage would add up.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

MODEL = "side"
POINT = {"x": 0.5, "y": -0.25}
WORKER = b"stanchion.training.worker"
SAMPLE, SOAK = 3, 50
pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for left-over processes in /proc")

SYSTEM = Path(__file__).with_name("sides.py")


@dataclass
class Series:
    """One data folder, the server over it, and what its clients were promised."""

    data: Path
    file: Path
    chance: random.Random
    start: Callable[..., Any]
    until: Callable[[Callable[[], bool]], None]
    running: Any = None
    seconds_to_start: list[float] = field(default_factory=list)
    working: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    promotions: set[str] = field(default_factory=set)
    flags: set[tuple[str, int]] = field(default_factory=set)
    trained: set[str] = field(default_factory=set)
    checked: set[str] = field(default_factory=set)
    trainings: int = 100
    seconds_to_train: float = 0.0
    acknowledged: int = 0

    def begin(self) -> None:
        """Start the server on what is there."""
        before = time.monotonic()
        self.running = self.start(self.data, "--no-train", file=self.file)
        self.seconds_to_start.append(time.monotonic() - before)

    def tell(self, method: str, path: str, body: object = None) -> Any:
        """The answer to a request that must be answered well."""
        answer = self.running.ask(method, path, body)
        assert answer.status in (200, 201), (method, path, answer.content)
        return answer.json

    def number(self, value: int) -> Path:
        """Name the data of the next training: in the file of the system, and in a file of its own."""
        own = self.file.with_name(f"number-{value}.txt")
        own.write_text(str(value))
        # Renamed into place: a training that is under way must not read half a number.
        draft = self.file.with_name("number.draft")
        draft.write_text(str(value))
        draft.rename(self.file.with_name("number.txt"))
        return own

    def command(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """A command beside the server, in a process group of its own."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("STANCHION_")}
        return subprocess.Popen(
            [sys.executable, "-m", "stanchion", *map(str, arguments), "--data", str(self.data), "--json"],
            cwd=self.data,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )


def workers(data: Path) -> list[int]:
    """Training workers of this data folder: a worker has the working directory of the process that started it."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and (entry / "cwd").readlink() == data:
                found += [int(entry.name)] if WORKER in (entry / "cmdline").read_bytes() else []
    return found


# What clients do until the server is gone. Each keeps what was acknowledged, and only that.


def change_keys(series: Series) -> None:
    while True:
        made = series.tell("POST", "/v1/keys", {"name": "crash", "roles": ["viewer"]})
        series.working[made["id"]] = made["secret"]
        series.acknowledged += 1
        what = series.chance.choice(["keep", "rotate", "revoke"])
        if what != "keep":
            # From here on it may have ended, acknowledged or not.
            del series.working[made["id"]]
        if what == "rotate":
            new = series.tell("POST", f"/v1/keys/{made['id']}/rotate", {"overlap_seconds": 0})
            series.working[new["id"]] = new["secret"]
        if what == "revoke":
            series.tell("DELETE", f"/v1/keys/{made['id']}")
        if what != "keep":
            series.ended[made["id"]] = made["secret"]


def change_production(series: Series) -> None:
    present = production(series)
    while True:
        other = "1.1.0" if present == "1.0.0" else "1.0.0"
        if series.chance.random() < 0.3:
            answer = series.running.ask("POST", f"/v1/models/{MODEL}/rollback", {"reason": "drill"})
            assert answer.status in (200, 409), answer.content
            present = answer.json["version"] if answer.status == 200 else present
        else:
            body = {"version": other, "to": "production", "evidence": "drill"}
            series.promotions.add(series.tell("POST", f"/v1/models/{MODEL}/promotions", body)["id"])
            present = other
        series.acknowledged += 1


def change_flags(series: Series) -> None:
    key = f"f{threading.get_ident()}"
    flag: dict[str, Any] = {"key": key, "variants": {"on": True, "off": False}, "default": "off"}
    version = {each["key"]: each["version"] for each in series.tell("GET", "/v1/flags")}.get(key, 0)
    while True:
        version = series.tell("PUT", f"/v1/flags/{key}", {**flag, "version": version})["version"]
        series.flags.add((key, version))
        series.acknowledged += 1


def train(series: Series) -> None:
    while True:
        answer = series.running.ask("POST", f"/v1/models/{MODEL}/trainings")
        if answer.status == 409:
            # The command beside the server is training the same model.
            time.sleep(0.05)
            continue
        assert answer.status == 200, answer.content
        series.trained.add(answer.json["version"])
        series.acknowledged += 1


CLIENTS: dict[str, tuple[Callable[[Series], None], ...]] = {
    "production": (change_production,),
    "keys": (change_keys,) * 3,
    "writes": (change_flags,) * 6,
    "training": (train,),
}


@dataclass
class Client:
    """A thread that acts until its server is gone; anything else that ends it is the test's failure."""

    act: Callable[[Series], None]
    series: Series
    fault: BaseException | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.act(self.series)
        except (OSError, http.client.HTTPException):
            return
        except BaseException as error:
            self.fault = error

    def join(self) -> None:
        self.thread.join(60)
        assert not self.thread.is_alive()
        if self.fault is not None:
            raise self.fault


def one_kill(series: Series, kind: str) -> None:
    """Let the clients act, kill everything at a random moment, and see that all workers end."""
    beside = None
    if kind == "training":
        series.trainings += 1
        own = series.number(series.trainings)
        if series.chance.random() < 0.6:
            beside = series.command("train", series.file, MODEL, "--source", own)
    clients = [Client(act, series) for act in CLIENTS[kind] if beside is None or series.chance.random() < 0.5]
    if kind == "training":
        moment = series.chance.uniform(0, 1.3 * series.seconds_to_train)
    else:
        reached, moment = series.acknowledged + series.chance.randrange(12), series.chance.random() * 0.05
        series.until(lambda: series.acknowledged >= reached or not any(each.thread.is_alive() for each in clients))
    # No condition is waited for: this is the random moment.
    time.sleep(moment)
    series.running.process.send_signal(signal.SIGKILL)
    if beside is not None:
        end_beside(series, beside)
    for worker in workers(series.data):
        if series.chance.random() < 0.5:
            with suppress(ProcessLookupError):
                os.killpg(worker, signal.SIGKILL)
    series.running.process.wait()
    for client in clients:
        client.join()
    series.until(lambda: not workers(series.data))


def end_beside(series: Series, beside: subprocess.Popen[bytes]) -> None:
    """Kill the command too, or let it end by itself: its version then counts as acknowledged."""
    if series.chance.random() < 0.7:
        beside.kill()
        beside.communicate()
        return
    told, errors = beside.communicate(timeout=300)
    if beside.returncode != 0:
        # The server was training the same model.
        assert json.loads(errors.splitlines()[-1])["code"] == "conflict", errors
        return
    series.trained.add(json.loads(told)["version"])
    series.acknowledged += 1


def production(series: Series) -> str:
    """The one version in production."""
    [version] = [each["version"] for each in versions(series) if each["stage"] == "production"]
    return str(version)


def versions(series: Series) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = series.tell("GET", f"/v1/models/{MODEL}/versions")["data"]
    return found


def served(series: Series, name: str) -> str:
    """The version that answers for this name, from its own graph."""
    answer = series.tell("POST", "/v1/predictions", {"model_id": name, "features": POINT})
    assert answer["served_by"] == "primary"
    return str(answer["model_version"])


def check(series: Series, kind: str, *, all_of_it: bool) -> None:
    """Everything that was acknowledged holds, and nothing is half-done."""
    report = series.tell("POST", "/v1/audit/verify")
    assert report["ok"], report["faults"]
    present = production(series)
    series.until(lambda: served(series, MODEL) == present)
    listed = {each["version"] for each in versions(series)}
    # A version never changes, so what has been loaded once is loaded again at the end only.
    for version in listed - (set() if all_of_it else series.checked):
        assert served(series, f"{MODEL}@{version}") == version
    series.checked |= listed
    assert series.trained <= listed
    done = [p for p in series.tell("GET", f"/v1/models/{MODEL}/promotions?limit=100")["data"] if p["status"] == "done"]
    assert done[0]["version"] == present
    if len(done) < 90:
        assert series.promotions <= {each["id"] for each in done}
    check_keys(series, all_of_it=all_of_it)
    check_flags(series)
    assert not list((series.data / "training" / "runs").glob("*/"))
    assert not (series.data / "tmp").exists() or not list((series.data / "tmp").iterdir())


def check_keys(series: Series, *, all_of_it: bool) -> None:
    """Kept keys open, ended keys do not; of many, the newest and some others are tried."""
    for held, status in ((series.working, 200), (series.ended, 401)):
        secrets = list(held.values())
        if not all_of_it and len(secrets) > 60:
            secrets = secrets[-30:] + series.chance.sample(secrets[:-30], 30)
        for secret in secrets:
            assert series.running.ask("GET", "/v1/serving/models", key=secret).status == status


def check_flags(series: Series) -> None:
    """Every acknowledged change is stored, and told once in the audit log."""
    if not series.flags:
        return
    stored = {each["key"]: each["version"] for each in series.tell("GET", "/v1/flags")}
    assert all(stored[key] >= version for key, version in series.flags)
    lines = series.running.ask("GET", "/v1/audit/export").content.splitlines()
    events = [event for event in map(json.loads, lines) if event["action"] == "flags:write"]
    told = [(event["facts"]["flag"], event["facts"]["version"]) for event in events if event["outcome"] == "done"]
    assert len(told) == len(set(told))
    assert series.flags <= set(told)
    assert set(told) == {(key, version) for key, newest in stored.items() for version in range(1, newest + 1)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, commands: Callable[..., Any]) -> Path:
    """A folder with the system file and a data folder in which two versions are registered."""
    folder = tmp_path_factory.mktemp("crashes")
    file, data = folder / "system.py", folder / "data"
    shutil.copy(SYSTEM, file)
    for number in (1, 2):
        (folder / "number.txt").write_text(str(number))
        before = time.monotonic()
        done = commands("train", file, MODEL, "--data", data, "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        (folder / "seconds.txt").write_text(str(time.monotonic() - before))
    first = ("models", "promote", MODEL, "1.0.0", "--evidence", "the first", "--data", data)
    assert commands(*first, cwd=folder).returncode == 0
    return folder


@pytest.fixture
def series(prepared: Path, tmp_path: Path, start: Callable[..., Any], until: Callable[..., None]) -> Iterator[Series]:
    shutil.copytree(prepared, tmp_path / "place")
    seed = random.randrange(1 << 32)
    # Shown when the test fails. It gives the same choices again, though not the same moments.
    print(f"seed {seed}")
    one = Series(tmp_path / "place" / "data", tmp_path / "place" / "system.py", random.Random(seed), start, until)
    one.seconds_to_train = float((prepared / "seconds.txt").read_text())
    yield one
    for worker in workers(one.data):
        with suppress(ProcessLookupError):
            os.killpg(worker, signal.SIGKILL)


def run(series: Series, kind: str, kills: int, commands: Callable[..., Any]) -> None:
    series.begin()
    for number in range(kills):
        one_kill(series, kind)
        series.begin()
        check(series, kind, all_of_it=number == kills - 1)
    assert series.running.stop() == 0
    verified = commands("audit", "verify", "--data", series.data, "--json", cwd=series.data)
    assert verified.returncode == 0, verified.stdout
    slow = sorted(series.seconds_to_start)
    print(f"{kind}: {kills} kills, {series.acknowledged} acknowledged; start {slow[len(slow) // 2]:.2f} s", end="")
    print(f" (slowest {slow[-1]:.2f} s), {json.loads(verified.stdout)['events']} audit events")


@pytest.mark.parametrize("kind", CLIENTS)
def test_kill_9_at_any_moment_leaves_nothing_half_done(series: Series, kind: str, commands: Callable[..., Any]) -> None:
    run(series, kind, SAMPLE, commands)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", CLIENTS)
def test_kill_9_fifty_times_over_leaves_nothing_half_done(
    series: Series, kind: str, commands: Callable[..., Any]
) -> None:
    run(series, kind, SOAK, commands)
    assert series.acknowledged > SOAK / 5
