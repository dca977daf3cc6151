"""Which code trained a model is told by git, or by the file itself."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from pathlib import Path

import pytest

from stanchion.training.backends.code import code_version


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "system.py"
    path.write_text("one")
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_without_git_it_is_the_digest_of_the_file(file: Path) -> None:
    assert await code_version(file) == f"sha256:{digest(file)}"


async def test_in_a_tree_it_is_the_commit_and_a_change_shows(file: Path) -> None:
    git(file.parent, "init", "-q")
    assert await code_version(file) == f"sha256:{digest(file)}"
    git(file.parent, "add", "system.py")
    git(file.parent, "commit", "-q", "-m", "one")
    commit = git(file.parent, "rev-parse", "HEAD").strip()
    assert await code_version(file) == f"git:{commit}"
    await asyncio.to_thread(file.write_text, "two")
    assert await code_version(file) == f"git:{commit}+{digest(file)[:12]}"


async def test_a_tree_that_does_not_hold_the_file_says_nothing(file: Path) -> None:
    git(file.parent, "init", "-q")
    git(file.parent, "commit", "-q", "--allow-empty", "-m", "none")
    assert await code_version(file) == f"sha256:{digest(file)}"
