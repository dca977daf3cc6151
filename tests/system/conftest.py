"""Real processes of the churn example: as one, and as two over mutual TLS."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "churn" / "system.py"
MODEL = "customer-churn-v2"
FEATURES = {"customer_id": "12345", "tenure_months": 24, "monthly_charges": 89.99}


def clean_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("STANCHION_") or k == "STANCHION_TEST_DATA"}
    return {**kept, **(extra or {})}


def command(*arguments: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stanchion", *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Running:
    """A started process and how to ask it."""

    process: subprocess.Popen[str]
    url: str
    data: Path
    others: list[Running] = field(default_factory=list)
    grpc: str = ""

    @property
    def key(self) -> str:
        return (self.data / "dev.key").read_text().strip()

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = "dev",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
        given = dict(headers or {})
        if key is not None:
            given["Authorization"] = f"Bearer {self.key if key == 'dev' else key}"
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if content is not None:
            given.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, content, given)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def predict(self, features: dict[str, Any] | None = None, **more: Any) -> Answer:
        return self.ask("POST", "/v1/predictions", {"model_id": MODEL, "features": features or FEATURES}, **more)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        for other in self.others:
            other.stop()
        return code

    def errors(self) -> str:
        return (self.data / "stderr.txt").read_text()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


def started(
    data: Path, *arguments: str, file: Path = EXAMPLE, env: dict[str, str] | None = None, cwd: Path | None = None
) -> Running:
    data.mkdir(parents=True, exist_ok=True)
    errors = (data / "stderr.txt").open("a")
    process = subprocess.Popen(
        [sys.executable, "-m", "stanchion", "run", str(file), "--data", str(data), "--port", "0", "--json", *arguments],
        cwd=cwd or data,
        env=clean_environment(env),
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event.get("event") == "ready":
            return Running(process, event["url"], data, grpc=event.get("grpc", ""))
    raise AssertionError(f"it ended with {process.wait()}: {(data / 'stderr.txt').read_text()[-3000:]}")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the example's model has been trained once."""
    data = tmp_path_factory.mktemp("trained") / "data"
    done = command("train", EXAMPLE, MODEL, "--data", data, "--json", cwd=data.parent)
    assert done.returncode == 0, done.stderr
    return data


@pytest.fixture
def data(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained data folder."""
    copy = tmp_path / "data"
    shutil.copytree(trained, copy)
    return copy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole processes start and train here, on machines that do other things as well."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="module")
def begin() -> Iterator[Callable[..., Running]]:
    """Starts processes, and ends those that are still running when the module's tests are done."""
    yield from _starter()


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    """Starts processes, and ends those that a test left running."""
    yield from _starter()


def _starter() -> Iterator[Callable[..., Running]]:
    all_started: list[Running] = []

    def begin(data: Path, *arguments: str, **more: Any) -> Running:
        one = started(data, *arguments, **more)
        all_started.append(one)
        return one

    yield begin
    for one in all_started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def two_processes(data: Path, folder: Path, start: Callable[..., Running]) -> Running:
    """`serving` alone in one process, the rest in the other, over mutual TLS on loopback."""
    made = command("mesh", "init", "main", "serving", "--folder", folder / "mesh", "--json", cwd=folder)
    assert made.returncode == 0, made.stderr
    ports = {"main": free_port(), "serving": free_port()}

    def settings(own: str, other: str, far: tuple[str, ...]) -> dict[str, str]:
        found = {
            "STANCHION_MESH__LISTEN": f"127.0.0.1:{ports[own]}",
            "STANCHION_MESH__IDENTITY": f"spiffe://stanchion.local/{own}",
            "STANCHION_MESH__CERTIFICATE": str(folder / "mesh" / f"{own}.pem"),
            "STANCHION_MESH__KEY": str(folder / "mesh" / f"{own}.key"),
            "STANCHION_MESH__AUTHORITY": str(folder / "mesh" / "authority.pem"),
            "STANCHION_MESH__PEERS": json.dumps([f"spiffe://stanchion.local/{other}"]),
        }
        for module in far:
            found[f"STANCHION_PLACE__{module.upper()}__URL"] = f"https://127.0.0.1:{ports[other]}"
            found[f"STANCHION_PLACE__{module.upper()}__IDENTITY"] = f"spiffe://stanchion.local/{other}"
        return found

    serving = start(folder / "serving-data", "--only", "serving", env=settings("serving", "main", ("registry",)))
    main = start(data, "--only", "features,registry,training", env=settings("main", "serving", ("serving",)))
    main.others.append(serving)
    return main


@pytest.fixture(params=["one", "two"])
def system(request: pytest.FixtureRequest, data: Path, tmp_path: Path, start: Callable[..., Running]) -> Running:
    """The running example, placed as one process and as two."""
    running = start(data) if request.param == "one" else two_processes(data, tmp_path, start)
    wait_until(lambda: running.predict().json.get("served_by") == "primary")
    return running


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return as soon as the condition holds; fail after so many seconds."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "the condition did not come true in time"
        time.sleep(0.05)  # between two looks at another process, which tells nothing of its own accord


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    return wait_until


@pytest.fixture(scope="session")
def commands() -> Callable[..., subprocess.CompletedProcess[str]]:
    return command


@pytest.fixture
def run_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    return command
