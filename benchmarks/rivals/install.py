"""Installs a rival into an environment of its own, outside this repository.

Run: python benchmarks/rivals/install.py mlserver rayserve bentoml litserve feast litellm faststream dbos. The folder is
that of STANCHION_BENCH_RIVALS, else one in the system's temporary folder. Nothing is done for a rival that is installed
already from the same list. Every file is held to the hash in that list.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = ("mlserver", "rayserve", "bentoml", "litserve", "feast", "litellm", "faststream", "dbos")
SECONDS = 300


def folder() -> Path:
    """Where the rivals' environments lie."""
    return Path(os.environ.get("STANCHION_BENCH_RIVALS") or Path(tempfile.gettempdir()) / "stanchion-rivals")


def wanted(name: str) -> Path:
    """The list of what a rival needs."""
    return HERE / f"requirements-{name}.txt"


def installed(name: str) -> Path | None:
    """The rival's own Python, or None if it is not installed from the present list."""
    place = folder() / name
    python, complete = place / "bin" / "python", place / "complete"
    if not (python.exists() and complete.exists() and complete.read_text() == _digest(name)):
        return None
    return python


def install(name: str) -> Path:
    """The rival's own Python, installed now if it was not.

    Raises CalledProcessError with what the installer said, and TimeoutExpired after five minutes.
    """
    if (present := installed(name)) is not None:
        return present
    place = folder() / name
    needs = ["--require-hashes", "-r", str(wanted(name))]
    python = place / "bin" / "python"
    uv = shutil.which("uv")
    if uv is not None:
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)])
        _run([uv, "pip", "install", "--quiet", "--python", str(python), *needs])
    else:
        _run([sys.executable, "-m", "venv", "--clear", str(place)])
        _run([str(python), "-m", "pip", "install", "--quiet", *needs])
    (place / "complete").write_text(_digest(name))
    return python


def version(name: str, package: str) -> str:
    """The version of a package in a rival's environment."""
    line = next(each for each in wanted(name).read_text().splitlines() if each.startswith(f"{package}=="))
    return line.partition("==")[2].partition(" ")[0]


def _digest(name: str) -> str:
    return hashlib.sha256(wanted(name).read_bytes()).hexdigest()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)


if __name__ == "__main__":
    for each in sys.argv[1:] or NAMES:
        print(install(each))
