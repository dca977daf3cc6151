"""A training on what people decided: from the decision to the lineage of the version that learnt from it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.declaration import load_declarations
from stanchion.core.errors import InvalidInput, Misconfigured, NotAllowed, NotFound
from stanchion.core.settings import HouseSettings
from stanchion.registry import Registry
from stanchion.review import DatasetVersion, Draft, Reviews, Submission
from stanchion.system.house import House
from stanchion.testing import Offline, offline
from stanchion.training import Training, TrainingReport
from stanchion.training.worker.wire import decode_job, encode_job

SYSTEM = """
import json
from typing import Literal
import pandas
from pydantic import BaseModel, Field
from stanchion import System
from stanchion.training import Dataset

class Loan(BaseModel):
    income: float = Field(ge=0)

class Grant(BaseModel):
    label: Literal["no", "yes"]
    probability: float

app = System("loans")
app.review("loans")
loan = app.trained("loan", input=Loan, output=Grant, bands={"no": 0.0, "yes": 0.5})

@loan.data
def rows(source, seed):
    if source is None:
        incomes = pandas.DataFrame({"income": [float(n) for n in range(60)]})
        return Dataset(incomes, [int(n > 30) for n in range(60)], "made up")
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    incomes = pandas.DataFrame({"income": [each["input"]["income"] for each in lines]})
    return Dataset(incomes, [int(each["label"]["grant"]) for each in lines], "decisions of people")

@loan.estimator
def tree():
    from sklearn.tree import DecisionTreeClassifier
    return DecisionTreeClassifier(max_depth=2)
"""


@asynccontextmanager
async def loans(tmp_path: Path) -> AsyncIterator[Offline]:
    file = tmp_path / "system.py"
    file.write_text(textwrap.dedent(SYSTEM))
    async with offline(load_declarations(file), file=file) as running:
        yield running


async def decided(running: Offline, incomes: range) -> None:
    """A person corrects the proposal for each income: whoever has more than 20 is granted."""
    reviews = running.door(Reviews)
    drafts = [
        Draft("loans", {"income": float(n)}, {"grant": True}, key=f"loan-{n}", model="loan", model_version="1.0.0")
        for n in incomes
    ]
    await reviews.open(running.ctx, drafts)
    ben = replace(running.ctx, principal="user:ben", rights=Rights(frozenset({"admin"}), frozenset({"*"})))
    while cases := await reviews.claim(ben, limit=50):
        settled = await reviews.decide(ben, [_judged(case) for case in cases])
        assert [each.error for each in settled] == [None] * len(cases)


def _judged(case: Any) -> Submission:
    said: dict[str, Any] = {"verdict": "approve"}
    if case.shown["input"]["income"] <= 20:
        said = {"verdict": "edit", "value": {"grant": False}}
    return Submission(case.item.id, case.item.version, case.digest, case.token or 0, **said)


async def trained(running: Offline, source: str | None, ctx: Any = None) -> TrainingReport:
    report = None
    async for event in running.door(Training).train(ctx or running.ctx, "loan", source=source):
        report = event.report
    assert report is not None
    return report


async def published(running: Offline, incomes: range) -> DatasetVersion:
    await decided(running, incomes)
    return await running.door(Reviews).dataset(running.ctx, "loans")


async def test_a_version_names_the_decisions_that_it_learnt_from(tmp_path: Path) -> None:
    async with loans(tmp_path) as running:
        first = await published(running, range(60))
        second = await published(running, range(60, 90))
        report = await trained(running, "review:loans@1")
        assert report.train_rows + report.test_rows == 60
        version = await running.door(Registry).resolve(running.ctx, "loan")
        said = f"decisions of people (review:loans@1, 60 decisions, sha256:{first.sha256})"
        assert (version.lineage.data_source, version.lineage.data_rows) == (said, 60)
        assert said in version.card
        facts = {"review": "loans", "version": 1, "rows": 60, "sha256": first.sha256}
        assert version.metadata["source"] == facts
        lines = b"".join([piece async for piece in running.door(Reviews).export(running.ctx, "loans", 1)])
        assert hashlib.sha256(lines).hexdigest() == facts["sha256"]
        # The newest is made exact: what is newest tomorrow is another one.
        report = await trained(running, "review:loans")
        newest = await running.door(Registry).resolve(running.ctx, f"loan@{report.version}")
        assert newest.metadata["source"]["version"] == second.version == 2
        assert newest.metadata["source"]["rows"] == 90
        assert not _left(running.house.folder)


async def test_the_command_line_trains_on_decisions_too(tmp_path: Path) -> None:
    settings = HouseSettings.model_validate({"modules": {"enabled": ["review", "registry", "training"]}})
    data, file = tmp_path / "data", tmp_path / "system.py"
    file.write_text(textwrap.dedent(SYSTEM))
    house = await House.open(
        settings, data, clock=SystemClock(), environment={}, declared=load_declarations(file), system_file=str(file)
    )
    await house.start()
    ctx = Context("default", "user:ada", Rights(frozenset({"admin"})))
    await published(Offline(ctx, house), range(60))
    await house.close()
    command = ["train", str(file), "loan", "--source", "review:loans@1", "--data", str(data), "--json"]
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "stanchion", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["train_rows"] + report["test_rows"] == 60


def _left(folder: Path) -> list[Path]:
    return list(folder.rglob("decisions.jsonl"))


async def test_who_may_not_export_decisions_cannot_train_on_them(tmp_path: Path) -> None:
    async with loans(tmp_path) as running:
        await published(running, range(40))
        trainer = running.caller(scopes=("training:train", "review:read", "registry:*"))
        with pytest.raises(NotAllowed, match="review:export"):
            await trained(running, "review:loans@1", trainer)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("review:loans@2", NotFound),
        ("review:others@1", NotFound),
        ("review:loans@0", InvalidInput),
        ("review:loans@one", InvalidInput),
        ("review:", InvalidInput),
    ],
)
async def test_a_data_set_that_is_none_trains_nothing(tmp_path: Path, source: str, error: type[Exception]) -> None:
    async with loans(tmp_path) as running:
        await published(running, range(5))
        with pytest.raises(error):
            await trained(running, source)


async def test_a_system_without_reviews_says_so(service: Any, ctx: Any) -> None:
    with pytest.raises(Misconfigured, match="no reviews"):
        async for _ in service().train(ctx, "size", source="review:loans@1"):
            pass


def test_a_job_goes_to_its_worker_with_its_origin() -> None:
    from stanchion.training.ports import Job

    job = Job("system.py", "loan", "decisions.jsonl", 7, "folder", "review:loans@1")
    assert decode_job(encode_job(job)) == job
