"""A system file that trains in a second, a registry in memory, and services over both."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.declaration import load_declarations
from stanchion.core.security.signing import Signer
from stanchion.core.storage.open import open_blobs, open_database
from stanchion.registry.backends.sql import SqlStore
from stanchion.registry.backends.tables import SCHEMA
from stanchion.registry.packages import Packages
from stanchion.registry.seal import Seal
from stanchion.registry.service import RegistryService
from stanchion.registry.watching import Watch
from stanchion.testing.clock import FakeClock
from stanchion.training import TrainingSpec
from stanchion.training.backends.folders import FolderWorkspace
from stanchion.training.backends.process import COMMAND, ProcessTrainer
from stanchion.training.ports import Job, Join, Package, Progress, Spine, Trainer
from stanchion.training.service import TrainingService
from stanchion.training.worker.job import done

SYSTEM = """
import sys
from typing import Annotated, Literal
import numpy, pandas
from pydantic import BaseModel, Field
from stanchion.core.declaration import Declarations
from stanchion.training import Dataset, TrainingSpec, aside, identifier

class Row(BaseModel):
    row_id: Annotated[str, identifier]
    size: float = Field(ge=-100, le=100)
    colour: Literal["red", "green", "blue"] = "red"
    flag: bool = False
    note: Annotated[str | None, aside] = None

class Out(BaseModel):
    label: Literal["no", "yes"]
    probability: float

def data(source, seed):
    print("declared code may print")
    draw = numpy.random.default_rng(seed if source is None else int(source.read_text()))
    size, colour = draw.normal(size=600), draw.choice(["red", "green", "blue"], size=600)
    rows = pandas.DataFrame({"size": size, "colour": colour, "flag": draw.random(600) < 0.5})
    return Dataset(rows, (size + (colour == "red") + draw.normal(size=600) > 0.4).astype(int), "made up")

def made(model):
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(make_column_transformer((words, ["colour"]), remainder="passthrough"), model)

def estimator():
    from sklearn.ensemble import GradientBoostingClassifier
    return made(GradientBoostingClassifier(n_estimators=10, max_depth=2, subsample=0.8))

def simple():
    from sklearn.linear_model import LogisticRegression
    return made(LogisticRegression())

def hanging(source, seed):
    import os, pathlib, time
    marker = pathlib.Path(__file__).with_name("pid")
    marker.with_suffix(".new").write_text(str(os.getpid()))
    marker.with_suffix(".new").rename(marker)
    time.sleep(600)

def failing(source, seed):
    raise RuntimeError("the data of ada@example.com broke, password=hunter22")

app = Declarations("test")
bands = {"no": 0.0, "yes": 0.5}
app.add(TrainingSpec("size", Row, Out, data, estimator, simple, bands=bands, card="For tests."))
app.add(TrainingSpec("hangs", Row, Out, hanging, estimator, bands=bands))
app.add(TrainingSpec("fails", Row, Out, failing, estimator, bands=bands))
"""


async def coded() -> str:
    return "sha256:test"


class HereTrainer(Trainer):
    """Runs jobs in a thread of this process, so that the libraries are loaded once."""

    async def run(self, job: Job, join: Join) -> AsyncGenerator[Progress | Package, None]:
        told: list[Progress] = []
        loop = asyncio.get_running_loop()

        def ask(spine: Spine) -> str:
            return asyncio.run_coroutine_threadsafe(join(spine), loop).result()

        package = await asyncio.to_thread(done, job, told.append, ask)
        for progress in told:
            yield progress
        yield package


@pytest.fixture
def here() -> Trainer:
    return HereTrainer()


@pytest.fixture
def system_file(tmp_path: Path) -> Path:
    path = tmp_path / "system.py"
    path.write_text(textwrap.dedent(SYSTEM))
    return path


@pytest.fixture
def ctx() -> Context:
    return Context(tenant="t1", principal="ada", rights=Rights(frozenset({"admin"}), frozenset({"*"})))


@pytest.fixture
async def registry() -> AsyncIterator[RegistryService]:
    database, blobs, clock = open_database("memory:"), open_blobs("memory:"), FakeClock()
    await database.prepare(SCHEMA)
    store = SqlStore(database)
    yield RegistryService(
        store=store,
        packages=Packages(store, blobs, clock=clock, most_bytes=1 << 26, abandoned_after=timedelta(hours=1)),
        seal=Seal(Signer.generate()),
        watch=Watch(store, poll_seconds=60),
        clock=clock,
        development=True,
    )
    await blobs.close()
    await database.close()


@pytest.fixture
def service(registry: RegistryService, system_file: Path, tmp_path: Path) -> Callable[..., TrainingService]:
    """Makes a service over the system file; `command` is another worker."""
    specs = load_declarations(system_file).of(TrainingSpec)

    def make(*, command: Any = COMMAND, **changes: Any) -> TrainingService:
        options: dict[str, Any] = {
            "specs": specs,
            "registry": registry,
            "trainer": ProcessTrainer(environment=os.environ, command=command),
            "workspace": FolderWorkspace(tmp_path / "training"),
            "system_file": system_file,
            "code_version": coded,
            "tenant": "t1",
            "clock": FakeClock(),
            **changes,
        }
        return TrainingService(**options)

    return make


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], tuple[str, ...]]:
    """Makes a worker command of a few lines of Python, which find the job's line in `job`."""

    def make(body: str) -> tuple[str, ...]:
        path = tmp_path / "worker.py"
        path.write_text(f"import sys, os, json, time\njob = sys.stdin.readline()\n{textwrap.dedent(body)}")
        return (sys.executable, str(path))

    return make
