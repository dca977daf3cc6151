"""What a registration leaves behind when it does not come to its end, and how that goes away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stanchion.core.errors import InvalidInput, NotFound, PayloadTooLarge, Unavailable
from stanchion.core.storage.blobs.memory import MemoryBlobs
from stanchion.registry import Draft
from stanchion.testing.registry_cases import ADA, FILES, STRANGER, draft


class BrokenBlobs(MemoryBlobs):
    """Fails at the put with this number, or waits there for ever."""

    def __init__(self, at: int, *, hang: bool = False) -> None:
        super().__init__()
        self.at = at
        self.hang = hang
        self.puts = 0
        self.reached = asyncio.Event()

    async def put(self, name: str, content: bytes) -> None:
        self.puts += 1
        if self.puts == self.at:
            self.reached.set()
            if self.hang:
                await asyncio.Event().wait()
            raise Unavailable("the blob store is down")
        await super().put(name, content)

    async def delete(self, name: str) -> bool:
        if self.at == 0:
            raise Unavailable("the blob store is down")
        return await super().delete(name)


async def blobs_of(store: Any) -> list[str]:
    return [name async for name in store.list()]


@pytest.mark.parametrize("at", [1, 2])
async def test_a_failed_upload_registers_nothing_and_is_swept_after_an_hour(bench: Any, at: int) -> None:
    blobs = BrokenBlobs(at)
    registry = bench.registry(blobs=blobs)
    with pytest.raises(Unavailable):
        await registry.register(ADA, draft(), FILES)
    with pytest.raises(NotFound):
        await registry.resolve(ADA, "churn")
    assert len(await blobs_of(blobs)) == at - 1
    bench.clock.advance(3600)
    await registry.start()
    assert len(await blobs_of(blobs)) == at - 1
    bench.clock.advance(1)
    await registry.start()
    assert await blobs_of(blobs) == []
    assert (await registry.register(ADA, draft(), FILES)).version == "1.0.0"


async def test_a_cancelled_registration_registers_nothing(bench: Any) -> None:
    blobs = BrokenBlobs(2, hang=True)
    registry = bench.registry(blobs=blobs)
    task = asyncio.create_task(registry.register(ADA, draft(), FILES))
    await blobs.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await registry.models(ADA) == []
    assert (await registry.register(ADA, draft(), FILES)).version == "1.0.0"


async def test_a_sweep_never_takes_what_a_version_needs(bench: Any, registry: Any) -> None:
    await registry.register(ADA, draft(), FILES)
    broken = BrokenBlobs(1)
    # The same contents again, in an upload that fails: they are still the version's.
    with pytest.raises(Unavailable):
        await bench.registry(blobs=broken).register(ADA, draft(weights="w2"), FILES)
    bench.clock.advance(7200)
    await registry.start()
    pieces = [p async for p in registry.artifact(ADA, "churn", "1.0.0", "model.onnx")]
    assert b"".join(pieces) == FILES["model.onnx"]


async def test_a_sweep_takes_one_tenants_content_and_leaves_anothers(bench: Any, registry: Any) -> None:
    await registry.register(STRANGER, draft(), FILES)
    with pytest.raises(Unavailable):
        await bench.registry(blobs=BrokenBlobs(1)).register(ADA, draft(), FILES)
    bench.clock.advance(7200)
    await registry.start()
    assert len(await blobs_of(bench.blobs)) == 2


async def test_a_registration_during_a_sweep_is_put_off_and_not_lost(bench: Any) -> None:
    broken = BrokenBlobs(2)
    registry = bench.registry(blobs=broken)
    with pytest.raises(Unavailable):
        await registry.register(ADA, draft(), FILES)
    bench.clock.advance(7200)
    broken.at = 0
    await registry.start()  # the sweep fails after it has claimed the contents
    with pytest.raises(Unavailable) as caught:
        await registry.register(ADA, draft(), FILES)
    assert caught.value.retry_after == 1.0
    broken.at = -1
    bench.clock.advance(61)
    made = await registry.register(ADA, draft(), FILES)
    bench.clock.advance(7200)
    await registry.start()
    for file in made.files:
        assert [p async for p in registry.artifact(ADA, "churn", made.version, file.name)]


async def test_an_upload_that_was_swept_meanwhile_registers_nothing(bench: Any) -> None:
    blobs = BrokenBlobs(2, hang=True)
    slow = bench.registry(blobs=blobs)
    registering = asyncio.create_task(slow.register(ADA, draft(), FILES))
    await blobs.reached.wait()
    bench.clock.advance(7200)
    await slow.start()
    blobs.hang, blobs.at = False, -1
    registering.cancel()
    await asyncio.gather(registering, return_exceptions=True)
    assert await blobs_of(blobs) == []
    assert await slow.models(ADA) == []


async def test_a_version_whose_upload_was_swept_before_its_end_is_refused(bench: Any) -> None:
    class SlowBlobs(MemoryBlobs):
        async def put(self, name: str, content: bytes) -> None:
            await super().put(name, content)
            if bench.clock.monotonic() < 5_000:
                bench.clock.advance(7200)
                await registry.start()

    registry = bench.registry(blobs=SlowBlobs())
    with pytest.raises(Unavailable):
        await registry.register(ADA, draft(), FILES)
    assert await registry.models(ADA) == []
    bench.clock.advance(7200)
    assert (await registry.register(ADA, draft(), FILES)).version == "1.0.0"


async def test_a_package_over_the_limit_is_refused_before_anything_is_stored(bench: Any) -> None:
    registry = bench.registry(most_bytes=16)
    with pytest.raises(PayloadTooLarge):
        await registry.register(ADA, draft(), FILES)
    assert await blobs_of(bench.blobs) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"format": "pickle"},
        {"metrics": {"roc_auc": float("nan")}},
        {"metadata": {"x": float("inf")}},
        {"parameters": {"x": "\ud800"}},
        {"weights_sha256": "ABC"},
        {"input_schema": {"type": "array"}},
        {"output_schema": {}},
        {"card": "x" * ((1 << 20) + 1)},
    ],
    ids=str,
)
async def test_a_draft_that_cannot_be_kept_is_refused_before_anything_is_stored(
    bench: Any, registry: Any, changed: dict[str, Any]
) -> None:
    given = draft()
    fields = {name: getattr(given, name) for name in Draft.__dataclass_fields__}
    with pytest.raises(InvalidInput):
        await registry.register(ADA, Draft(**{**fields, **changed}), FILES)
    assert await blobs_of(bench.blobs) == []


async def test_blob_names_tell_no_tenant(bench: Any, registry: Any) -> None:
    await registry.register(ADA, draft(), FILES)
    await registry.register(STRANGER, draft(), FILES)
    names = await blobs_of(bench.blobs)
    assert len(names) == 4
    assert not [name for name in names if "t1" in name.split("/") or "t2" in name.split("/")]
