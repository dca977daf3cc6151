"""Who is asked: the mock upstream itself, the least that passes through, Stanchion's gateway, and LiteLLM's proxy."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
RIVALS = HERE.parent / "rivals"
sys.path[:0] = [str(HERE.parent / "serving"), str(RIVALS)]
import install  # noqa: E402 - lies beside the rivals
from process import Server, stanchion, started  # noqa: E402 - lies beside the servers

SYSTEM = HERE / "gateway_system.py"
CHAT = "/v1/chat/completions"
_PROMPT = "The shop on the corner opens at nine in the morning. When does it open on a Monday, and why? " * 2


@dataclass(frozen=True, slots=True)
class Load:
    """What a server is asked."""

    server: Server
    path: str
    body: bytes


def chat(model: str, *, stream: bool = False, prompt: str = _PROMPT) -> bytes:
    """A request as clients send it."""
    messages = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": prompt}]
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return json.dumps({"model": model, "messages": messages, "temperature": 0.2, "max_tokens": 256, **more}).encode()


@contextmanager
def upstream() -> Iterator[Server]:
    """The model behind everybody."""
    with started([sys.executable, HERE / "upstream.py"]) as (server, _):
        yield server


@contextmanager
def passing(behind: Server) -> Iterator[Server]:
    """The least that could pass calls through, and the bare handler."""
    with started([sys.executable, HERE / "passing.py", behind.url]) as (server, _):
        yield server


@contextmanager
def gateway(behind: Server, *, privacy: bool = False) -> Iterator[Server]:
    """Stanchion's gateway as `stanchion run` serves it, in a data folder of its own."""
    env = {"BENCH_UPSTREAM": behind.url, "BENCH_UPSTREAM_KEY": "none", "BENCH_PRIVACY": "yes" if privacy else ""}
    with (
        tempfile.TemporaryDirectory(prefix="stanchion-bench-") as folder,
        stanchion(SYSTEM, Path(folder) / "data", env=env) as server,
    ):
        yield server


@contextmanager
def litellm(behind: Server) -> Iterator[tuple[Server, str]]:
    """LiteLLM's proxy, installed first if need be, and its settings in words."""
    python = install.install("litellm")
    env = {"PYTHONPATH": str(RIVALS), "PYTHONDONTWRITEBYTECODE": "1", "BENCH_UPSTREAM": behind.url}
    with started([python, RIVALS / "litellm" / "serve.py"], env=env) as (server, ready):
        yield Server(server.pid, server.url, str(ready["key"])), str(ready["settings"])


def litellm_version() -> str:
    """The version that is installed."""
    return install.version("litellm", "litellm")


def same(loads: dict[str, Load]) -> None:
    """Raise RuntimeError unless all give the upstream's own words, and as many tokens."""
    said = {name: _said(load.server.post(load.path, load.body)) for name, load in loads.items()}
    if len(set(said.values())) != 1:
        raise RuntimeError(f"not everybody gives the answer of the upstream: {said}")


def _said(answer: bytes) -> tuple[str, int]:
    if not answer.startswith(b"data:"):
        whole = json.loads(answer)
        return whole["choices"][0]["message"]["content"], whole["usage"]["completion_tokens"]
    events = [json.loads(line[6:]) for line in answer.decode().splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in event["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, next(event["usage"]["completion_tokens"] for event in reversed(events) if event.get("usage"))
