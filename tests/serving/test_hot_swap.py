"""A version comes into service beside the old one, and no call notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from stanchion.core.context import Context
from stanchion.core.errors import Unavailable
from stanchion.registry import Change


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0)


def serves(service: Any, ctx: Context, version: str | None) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return bool((await service.describe(ctx, "churn")).version == version)

    return check


async def test_promotions_under_constant_load_fail_no_request(bench: Any, ctx: Any, customer: Any) -> None:
    versions = [await bench.register(f"m{n}", 0.5 + n / 100) for n in range(8)]
    by_version = {each.version: 0.5 + n / 100 for n, each in enumerate(versions)}
    service = bench.serving(bench.spec(rule=None, default=None))
    await service.start()
    stop, seen, wrong = asyncio.Event(), set(), []

    async def load() -> None:
        while not stop.is_set():
            answer = await service.predict(ctx, "churn", [customer] * 3)
            seen.add(answer.version)
            expected = by_version[answer.version]
            if any(each.values["probability"] != expected for each in answer.items) or answer.served_by != "primary":
                wrong.append(answer)
            # A loop that never idles keeps the interpreter's lock from the threads that load: seconds for each swap.
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(load()) for _ in range(8)]
    for version in versions:
        await bench.registry.promote(ctx, "churn", version.version, to="production", evidence="compared")
        await until(serves(service, ctx, version.version))
    await bench.registry.rollback(ctx, "churn", reason="worse")
    await until(serves(service, ctx, versions[-2].version))
    stop.set()
    await asyncio.gather(*tasks)
    assert not wrong
    assert seen == set(by_version)
    await service.stop()


async def test_a_call_under_way_ends_on_the_version_it_began_with(bench: Any, ctx: Any, customer: Any) -> None:
    import threading

    await bench.register("old", 0.1)
    service = bench.serving(inline_seconds=0.0)
    await service.start()
    began, release = threading.Event(), threading.Event()
    bench.runtime.graphs["old"].before = lambda: (began.set(), release.wait(10))
    call = asyncio.create_task(service.predict(ctx, "churn", [customer]))
    await asyncio.to_thread(began.wait, 10)
    new = await bench.register("new", 0.9, promote=True)
    await until(serves(service, ctx, new.version))
    release.set()
    answer = await call
    assert (answer.version, answer.items[0].values["probability"]) == ("1.0.0", 0.1)
    assert (await service.predict(ctx, "churn", [customer])).version == new.version
    await service.stop()


async def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving(bench: Any, ctx: Any, customer: Any) -> None:
    await bench.register("good")
    service = bench.serving()
    await service.start()
    await bench.register("bad", files={"simple.onnx": b"no graph"}, promote=True)

    async def faulty() -> bool:
        return (await service.describe(ctx, "churn")).fault is not None

    await until(faulty)
    status = await service.describe(ctx, "churn")
    assert status.version == "1.0.0"
    assert "1.1.0 cannot be served" in str(status.fault)
    assert (await service.predict(ctx, "churn", [customer])).served_by == "primary"
    better = await bench.register("better", promote=True)
    await until(serves(service, ctx, better.version))
    assert (await service.describe(ctx, "churn")).fault is None
    await service.stop()


async def test_a_graph_that_fails_its_first_row_is_not_taken_into_service(bench: Any, ctx: Any, customer: Any) -> None:
    await bench.register("sick", float("nan"))
    service = bench.serving()
    await service.start()
    assert "no probability" in str((await service.describe(ctx, "churn")).fault)
    assert (await service.predict(ctx, "churn", [customer])).served_by == "default"
    await service.stop()


async def test_a_file_that_was_changed_at_rest_is_never_loaded(bench: Any, ctx: Any, customer: Any) -> None:
    await bench.register("honest", 0.2)
    names = [name async for name in bench.blobs.list()]
    for name in names:
        if (await bench.blobs.get(name)).startswith(b'{"name": "honest",'):
            await bench.blobs.put(name, bench.runtime.file("planted", 0.9).ljust(len(await bench.blobs.get(name))))
    service = bench.serving()
    await service.start()
    assert str((await service.describe(ctx, "churn")).fault).startswith("not_trustworthy")
    assert "planted" not in bench.runtime.loads
    assert (await service.predict(ctx, "churn", [customer])).served_by == "default"
    await service.stop()


class Meddler:
    """A registry far away, with somebody on the line who changes files."""

    def __init__(self, near: Any) -> None:
        self._near = near

    def __getattr__(self, name: str) -> Any:
        return getattr(self._near, name)

    async def artifact(self, *arguments: Any) -> AsyncIterator[bytes]:
        async for piece in self._near.artifact(*arguments):
            yield piece.replace(b"honest", b"forged")


async def test_a_file_that_was_changed_on_the_way_is_never_loaded(bench: Any, ctx: Any) -> None:
    await bench.register("honest")
    service = bench.serving(registry=Meddler(bench.registry))
    await service.start()
    assert str((await service.describe(ctx, "churn")).fault).startswith("not_trustworthy")
    assert not bench.runtime.loads
    await service.stop()


class Shaky(Meddler):
    """A registry whose watch breaks off after each change, and which is away at first."""

    def __init__(self, near: Any) -> None:
        super().__init__(near)
        self.away = 2

    async def resolve(self, *arguments: Any) -> Any:
        if self.away:
            self.away -= 1
            raise Unavailable("the registry does not answer")
        return await self._near.resolve(*arguments)

    def artifact(self, *arguments: Any) -> AsyncIterator[bytes]:
        found: AsyncIterator[bytes] = self._near.artifact(*arguments)
        return found

    async def watch(self, ctx: Context, *, since: int = -1) -> AsyncIterator[Change]:
        async for change in self._near.watch(ctx, since=since):
            yield change
            raise ConnectionResetError


async def test_the_watch_survives_a_registry_that_comes_and_goes(bench: Any, ctx: Any, customer: Any) -> None:
    await bench.register("first")
    service = bench.serving(registry=Shaky(bench.registry))
    await service.start()
    assert (await service.predict(ctx, "churn", [customer])).served_by == "default"
    await until(serves(service, ctx, "1.0.0"))
    for number in range(3):
        version = await bench.register(f"n{number}", promote=True)
        await until(serves(service, ctx, version.version))
    await service.stop()


async def test_a_stage_change_of_the_same_version_keeps_its_counts(bench: Any, ctx: Any, customer: Any) -> None:
    version = await bench.register("only")
    service = bench.serving()
    await service.start()
    await service.predict(ctx, "churn", [customer])
    await bench.registry.promote(ctx, "churn", version.version, to="production", evidence="compared")

    async def promoted() -> bool:
        return (await service.describe(ctx, "churn")).stage == "production"

    await until(promoted)
    assert (await service.describe(ctx, "churn")).rungs[0].served == 1
    assert bench.runtime.loads == ["only", "only-simple"]
    await service.stop()


async def test_stopping_leaves_no_task_behind(bench: Any) -> None:
    before = len(asyncio.all_tasks())
    service = bench.serving()
    await service.start()
    await service.stop()
    assert len(asyncio.all_tasks()) == before
