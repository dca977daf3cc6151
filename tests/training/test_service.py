"""A training from the declaration to the registered version, and every way it may end before that."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stanchion.core.errors import Conflict, InvalidInput, Misconfigured, NotFound, Unavailable

PROGRESS = '{"kind": "progress", "body": {"stage": "data", "message": "here", "fraction": 0.1}}'


async def all_of(events: Any) -> list[Any]:
    return [event async for event in events]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that init has not yet reaped is dead.
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while alive(pid):
            await asyncio.sleep(0)


def contents(folder: Path, pattern: str) -> list[bytes]:
    return [each.read_bytes() for each in folder.glob(pattern)]


def leftovers(tmp_path: Path) -> list[Path]:
    return [each for each in (tmp_path / "training" / "runs").iterdir() if each.is_dir()]


async def test_a_declared_model_is_trained_checked_and_registered(
    service: Any, registry: Any, ctx: Any, tmp_path: Path
) -> None:
    events = await all_of(service().train(ctx, "size"))
    assert [e.stage for e in events] == ["started", "data", "split", "fitted", "measured", "exported", "registered"]
    assert [e.fraction for e in events] == sorted(e.fraction for e in events)
    report = events[-1].report
    assert (report.version, report.train_rows, report.test_rows) == ("1.0.0", 480, 120)
    assert report.roc_auc > 0.7
    assert report.parity < 1e-5
    assert sum(each.rows for each in report.reliability) == 120
    assert report.picture.startswith(str(tmp_path))
    version = await registry.resolve(ctx, "size")
    assert {each.name for each in version.files} == {"model.onnx", "simple.onnx", "card.md", "picture.png"}
    assert version.metrics["roc_auc"] == report.roc_auc
    assert (version.lineage.code_version, version.lineage.seed, version.lineage.data_rows) == ("sha256:test", 7, 600)
    assert version.lineage.parent is None
    assert [each["name"] for each in version.metadata["columns"]] == ["size", "colour", "flag"]
    assert "For tests." in version.card
    assert version.lineage.data_sha256 in version.card
    assert [each.startswith(b"\x89PNG") for each in contents(tmp_path, "training/pictures/*/size-1.0.0.png")] == [True]
    assert not leftovers(tmp_path)


async def test_the_same_training_again_gives_the_existing_version(
    service: Any, here: Any, registry: Any, ctx: Any, tmp_path: Path
) -> None:
    training = service(trainer=here)
    first = (await all_of(training.train(ctx, "size")))[-1].report
    assert (await all_of(training.train(ctx, "size")))[-1].report.version == first.version
    source = tmp_path / "seed.txt"
    source.write_text("8")
    other = (await all_of(training.train(ctx, "size", source=str(source))))[-1].report
    assert other.version == "1.1.0"
    assert (await registry.resolve(ctx, "size@1.1.0")).lineage.parent == "1.0.0"


async def test_what_is_not_declared_cannot_be_trained(service: Any, ctx: Any) -> None:
    stranger = replace(ctx, tenant="t2")
    assert await service().declared(ctx) == ["fails", "hangs", "size"]
    assert list(await service().declared(stranger)) == []
    for caller, model in ((ctx, "nowhere"), (stranger, "size")):
        with pytest.raises(NotFound):
            await all_of(service().train(caller, model))


async def test_a_source_that_is_no_file_is_refused(service: Any, ctx: Any, tmp_path: Path) -> None:
    for source in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InvalidInput):
            await all_of(service().train(ctx, "size", source=str(source)))


async def test_an_error_of_declared_code_is_told_without_its_secrets(service: Any, ctx: Any, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        await all_of(service().train(ctx, "fails"))
    assert "RuntimeError: the data of" in caught.value.detail
    assert "hunter22" not in caught.value.detail
    assert "ada@example.com" not in caught.value.detail
    assert not leftovers(tmp_path)


async def test_leaving_the_iterator_ends_the_worker_and_all_it_started(
    service: Any, ctx: Any, script: Any, tmp_path: Path
) -> None:
    command = script(f"""
        child = os.fork()
        if child:
            open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{child}}")
            print('{PROGRESS}', flush=True)
        time.sleep(600)
    """)
    async with aclosing(service(command=command).train(ctx, "size")) as events:
        async for event in events:
            if event.stage == "data":
                break
    for pid in (tmp_path / "pids").read_text().split():
        await gone(int(pid))
    assert not leftovers(tmp_path)


async def hanging(tmp_path: Path) -> int:
    """The process id of the worker that trains `hangs`, once it does."""
    async with asyncio.timeout(60):
        while not contents(tmp_path, "pid"):
            await asyncio.sleep(0.01)
    return int(contents(tmp_path, "pid")[0])


async def test_cancelling_the_caller_ends_the_worker(service: Any, ctx: Any, tmp_path: Path) -> None:
    task = asyncio.create_task(all_of(service().train(ctx, "hangs")))
    worker = await hanging(tmp_path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(worker)
    assert not leftovers(tmp_path)


async def test_a_killed_worker_is_unavailable_and_registers_nothing(
    service: Any, registry: Any, ctx: Any, tmp_path: Path
) -> None:
    task = asyncio.create_task(all_of(service().train(ctx, "hangs")))
    os.kill(await hanging(tmp_path), signal.SIGKILL)
    with pytest.raises(Unavailable, match="killed by signal 9"):
        await task
    with pytest.raises(NotFound):
        await registry.resolve(ctx, "hangs")
    assert not leftovers(tmp_path)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit(3)", "code 3"),
        ("print('{}', flush=True)", "cannot be read"),
        ("print('x' * (1 << 25), flush=True)", "cannot be read"),
        ('print(json.dumps({"kind": "other", "body": 1}), flush=True)', "cannot be read"),
        ("os.kill(os.getpid(), 11)", "signal 11"),
        (f"print('{PROGRESS}', flush=True)", "code 0"),
    ],
)
async def test_a_worker_that_ends_without_a_package_is_unavailable(
    body: str, told: str, service: Any, ctx: Any, script: Any
) -> None:
    with pytest.raises(Unavailable, match=told):
        await all_of(service(command=script(body)).train(ctx, "size"))


async def test_one_training_of_a_model_runs_at_once(service: Any, ctx: Any, script: Any) -> None:
    command = script(f"print('{PROGRESS}', flush=True); time.sleep(600)")
    first, second = service(command=command), service(command=command)
    async with aclosing(first.train(ctx, "size")) as events:
        assert [(await anext(events)).stage, (await anext(events)).stage] == ["started", "data"]
        for other in (first, second):
            with pytest.raises(Conflict):
                await all_of(other.train(ctx, "size"))
        async with aclosing(second.train(ctx, "hangs")) as more:
            assert (await anext(more)).stage == "started"
    async with aclosing(second.train(ctx, "size")) as events:
        assert (await anext(events)).stage == "started"


async def test_the_worker_gets_none_of_our_settings(service: Any, ctx: Any, script: Any, tmp_path: Path) -> None:
    from stanchion.training.backends.process import ProcessTrainer

    command = script(f"open({str(tmp_path / 'names')!r}, 'w').write(' '.join(os.environ))")
    trainer = ProcessTrainer(environment={"STANCHION_SECRET": "x", "PATH": os.environ["PATH"]}, command=command)
    with pytest.raises(Unavailable):
        await all_of(service(trainer=trainer).train(ctx, "size"))
    assert "STANCHION" not in (tmp_path / "names").read_text()


async def test_a_worker_ends_itself_when_its_parent_is_gone(system_file: Path, tmp_path: Path) -> None:
    import sys

    from stanchion.training.ports import Job
    from stanchion.training.worker.wire import encode_job

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stanchion.training.worker", stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(encode_job(Job(str(system_file), "hangs", None, 7, str(tmp_path))))
    await process.stdin.drain()
    process.stdin.close()
    assert await process.wait() == 1


async def test_what_a_killed_process_left_is_swept_at_start(
    service: Callable[..., Any], ctx: Any, script: Any, tmp_path: Path
) -> None:
    running = service(command=script(f"print('{PROGRESS}', flush=True); time.sleep(600)"))
    async with aclosing(running.train(ctx, "size")) as events:
        await anext(events)
        await anext(events)
        [held] = leftovers(tmp_path)
        stale = held.with_name("stale")
        stale.mkdir()
        (stale / "model.onnx").write_bytes(b"half")
        await service().start()
        assert leftovers(tmp_path) == [held]


async def test_names_that_could_leave_the_folder_are_refused(service: Any, system_file: Path) -> None:
    from stanchion.core.declaration import load_declarations
    from stanchion.training import TrainingSpec

    [spec, *_] = load_declarations(system_file).of(TrainingSpec)
    for specs in ([replace(spec, model="../up")], [spec, spec]):
        with pytest.raises(Misconfigured):
            service(specs=specs)
