"""A batch service over real stores, with a small real graph registered."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the extra `batch` is not installed")
pytest.importorskip("onnx", reason="the extra `train` is not installed")
sys.path.insert(0, str(Path(__file__).parent))

from batch_bench import Bench, opened


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as made:
        await made.register()
        yield made
