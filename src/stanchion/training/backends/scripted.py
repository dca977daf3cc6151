"""A trainer that does as it is told, for tests of training without a worker process or any library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from ..contract import Reliability
from ..ports import Job, Join, Measures, Package, Progress, Stage, Trainer

STAGES: tuple[Stage, ...] = ("data", "split", "fitted", "measured", "exported")


class ScriptedTrainer(Trainer):
    """Tells every stage and hands over a package of made-up content, without any library.

    `hold`, if set, is waited for before the first stage. `running` counts jobs under way.
    """

    def __init__(self) -> None:
        self.hold: asyncio.Event | None = None
        self.fault: Exception | None = None
        self.running = 0

    async def run(self, job: Job, join: Join) -> AsyncGenerator[Progress | Package, None]:
        self.running += 1
        try:
            if self.hold is not None:
                await self.hold.wait()
            for number, stage in enumerate(STAGES, start=1):
                yield Progress(stage, stage, number / (len(STAGES) + 1))
            if self.fault is not None:
                raise self.fault
            yield _package(job)
        finally:
            self.running -= 1


def _package(job: Job) -> Package:
    files = {"model.onnx": b"graph", "card.md": b"# card", "picture.png": b"\x89PNG"}
    for name, content in files.items():
        Path(job.folder, name).write_bytes(content)
    bins = (Reliability(0.2, 0.2, 50), Reliability(0.8, 0.8, 50))
    return Package(
        input_schema={"type": "object", "properties": {"size": {"type": "number"}}},
        output_schema={"type": "object", "properties": {"probability": {"type": "number"}}},
        parameters={"estimator": "Scripted"},
        metadata={"rungs": {"primary": "model.onnx"}},
        measures=Measures(0.9, 0.1, 0.3, 0.5, 0.0, 400, 100, 0.0, bins, None),
        data_sha256="0" * 64,
        data_rows=500,
        data_source=job.origin or job.source or "made up",
        weights_sha256="1" * 64,
        card="# card",
        files=tuple(files),
        picture="picture.png",
    )
