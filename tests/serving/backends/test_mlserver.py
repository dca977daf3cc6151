"""The remote runtime against a real MLServer, where benchmarks/rivals/install.py has installed one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from stanchion import System
from stanchion.core.errors import InvalidInput, Unavailable
from stanchion.serving import InferRequest, Layout, Serving, Tensor, TensorInput, TensorOutput
from stanchion.testing.offline import offline


class Point(BaseModel):
    x: float = Field(ge=-100, le=100)
    y: float = 0.0


class Kind(BaseModel):
    label: str
    probability: float


NAMES = ("no", "yes")
LAYOUT = Layout(
    (TensorInput("input-0", ("x", "y"), datatype="FP32"),),
    (
        TensorOutput("scores", "label", "label", NAMES),
        TensorOutput("scores", "probability", "probability", NAMES),
    ),
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    rivals = Path(os.environ.get("STANCHION_BENCH_RIVALS") or Path(tempfile.gettempdir()) / "stanchion-rivals")
    python = rivals / "mlserver" / "bin" / "python"
    if not (rivals / "mlserver" / "complete").exists():
        pytest.skip(f"MLServer is not installed in {rivals}: run benchmarks/rivals/install.py mlserver")
    child = Path(__file__).with_name("mlserver_child.py")
    # A folder of its own: MLServer reads settings from where it is started.
    folder = tmp_path_factory.mktemp("mlserver")
    log = (folder / "log").open("wb")
    process = subprocess.Popen([python, child], stdout=subprocess.PIPE, stderr=log, cwd=folder)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b'{"url"'):
                yield json.loads(line)["url"]
                break
        else:
            pytest.fail((folder / "log").read_text()[-2000:])
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def system(url: str, **changes: Any) -> System:
    app = System("far")
    app.remote("far", input=Point, output=Kind, **{"url": url, "model": "linear", "layout": LAYOUT, **changes})
    return app


async def test_a_model_in_mlserver_is_served_by_its_fields(url: str) -> None:
    instances = [{"x": x / 4, "y": 1.0} for x in range(-20, 20)]
    async with offline(system(url)) as running:
        answer = await running.door(Serving).predict(running.ctx, "far", instances)
    high = [1 / (1 + math.exp(1.0 - each["x"])) for each in instances]
    assert answer.served_by == "primary"
    assert [each.values["label"] for each in answer.items] == ["yes" if p > 0.5 else "no" for p in high]
    assert [each.values["probability"] for each in answer.items] == pytest.approx([max(p, 1 - p) for p in high])


async def test_tensors_pass_through_to_mlserver(url: str) -> None:
    request = InferRequest((Tensor("input-0", "FP32", (2, 2), (0.0, 0.0, 3.0, 1.0)),))
    async with offline(system(url)) as running:
        door = running.door(Serving)
        answer = await door.infer(running.ctx, "far", request)
        metadata = await door.metadata(running.ctx, "far")
        assert await door.ready(running.ctx, "far")
    [scores] = answer.outputs
    assert (scores.name, scores.datatype, scores.shape) == ("scores", "FP32", (2, 2))
    assert list(scores.values()) == pytest.approx([0.5, 0.5, 0.1192, 0.8808], abs=1e-3)
    assert metadata.platform == "remote"


async def test_what_mlserver_cannot_do_is_left_to_the_next_rung(url: str) -> None:
    default = Kind(label="no", probability=0.5)
    lone = Layout((TensorInput("input-0", ("x",), datatype="FP32"),), LAYOUT.outputs)
    async with offline(system(url, layout=lone, default=default)) as running:
        assert (await running.door(Serving).predict(running.ctx, "far", [{"x": 1.0}])).served_by == "default"
    async with offline(system(url, model="nothing")) as running:
        door = running.door(Serving)
        with pytest.raises(Unavailable):
            await door.predict(running.ctx, "far", [{"x": 1.0}])
        assert not await door.ready(running.ctx, "far")


async def test_tensors_that_mlserver_refuses_are_the_callers_or_its_own_fault(url: str) -> None:
    request = InferRequest((Tensor("input-0", "FP32", (1, 3), (0.0, 0.0, 3.0)),))
    async with offline(system(url)) as running:
        with pytest.raises((InvalidInput, Unavailable)):
            await running.door(Serving).infer(running.ctx, "far", request)
