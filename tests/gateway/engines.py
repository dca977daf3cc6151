"""Real engines with tiny models that the tests make: where they are installed, and how they are started."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

ASK: Any = [{"role": "user", "content": "When do you open?"}]


@dataclass(frozen=True)
class Engine:
    """A server asked directly. `model` is its name there."""

    url: str
    model: str
    client: openai.OpenAI

    def chat(self, **options: Any) -> Any:
        return self.client.chat.completions.create(model=self.model, messages=ASK, temperature=0, **options)


def installed(name: str) -> Path:
    """The environment of an engine; skips the test where it is missing."""
    rivals = Path(os.environ.get("STANCHION_BENCH_RIVALS") or Path(tempfile.gettempdir()) / "stanchion-rivals")
    if not (rivals / name / "complete").exists():
        pytest.skip(f"{name} is not installed in {rivals}: run benchmarks/rivals/install.py {name}")
    return rivals / name


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def made(place: Path, maker: str, output: Path, environment: Mapping[str, str]) -> None:
    """Have the engine's own Python make the model."""
    command = [place / "bin" / "python", Path(__file__).with_name(maker), output]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path, port: int, ready: str, environment: Mapping[str, str], name: str = ""
) -> Iterator[Engine]:
    """The engine, once it answers the path `ready`; its model is called `name`, or as the folder that was made."""
    url, log = f"http://127.0.0.1:{port}", folder / "log"
    with log.open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told, cwd=folder, env={**os.environ, **environment})
        try:
            _answering(url + ready, process, log)
            with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
                yield Engine(url, name or str(folder / "tiny"), client)
        finally:
            process.terminate()
            process.wait(30)


def _answering(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx2.get(url, timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    pytest.fail(log.read_text()[-2000:])
