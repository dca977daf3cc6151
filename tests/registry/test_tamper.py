"""Whoever can write to the stores cannot make the registry serve what was not registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from stanchion.core.context import system_context
from stanchion.core.errors import NotTrustworthy
from stanchion.core.security.signing import Signer
from stanchion.registry.backends.tables import versions
from stanchion.registry.manifest import digest
from stanchion.registry.packages import blob_name
from stanchion.registry.seal import Seal
from stanchion.testing.registry_cases import ADA, FILES, STRANGER, draft


async def edit(bench: Any, values: dict[str, object], *conditions: Any) -> None:
    statement = update(versions).where(*conditions).values(values)
    await bench.database.write(system_context("t1", task="attack"), lambda connection: connection.execute(statement))


def forged(manifest: bytes) -> bytes:
    return manifest.replace(b'"roc_auc":0.84', b'"roc_auc":0.99')


async def row_of(bench: Any) -> Any:
    return await bench.database.read(lambda connection: connection.execute(versions.select()).first())


CHANGES: dict[str, Callable[[Any], dict[str, object]]] = {
    "manifest": lambda row: {"manifest": forged(row.manifest)},
    "manifest and digest": lambda row: {
        "manifest": forged(row.manifest),
        "manifest_sha256": digest(forged(row.manifest)),
    },
    "digest": lambda row: {"manifest_sha256": digest(b"")},
    "signature": lambda row: {"signature": "A" * 86 + "=="},
    "unreadable signature": lambda row: {"signature": "é"},
    "key id": lambda row: {"key_id": "ed25519:other"},
    "version": lambda row: {"version": "1.0.7"},
    "no manifest": lambda row: {"manifest": b"", "manifest_sha256": digest(b"")},
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("seen_before", [False, True])
async def test_an_edited_record_is_not_trusted(bench: Any, what: str, seen_before: bool) -> None:
    registry = bench.registry()
    await registry.register(ADA, draft(), FILES)
    if not seen_before:
        registry = bench.registry()
    await edit(bench, CHANGES[what](await row_of(bench)))
    with pytest.raises(NotTrustworthy):
        await registry.resolve(ADA, "churn")
    with pytest.raises(NotTrustworthy):
        await registry.versions(ADA, "churn")
    with pytest.raises(NotTrustworthy):
        await registry.register(ADA, draft(weights="w2"), FILES)


async def test_the_record_of_one_version_cannot_stand_for_another(bench: Any, registry: Any) -> None:
    await registry.register(ADA, draft(), FILES)
    old = await row_of(bench)
    await registry.register(ADA, draft(weights="w2"), FILES)
    signed = {"manifest": old.manifest, "manifest_sha256": old.manifest_sha256, "signature": old.signature}
    await edit(bench, signed, versions.c.version == "1.1.0")
    with pytest.raises(NotTrustworthy):
        await registry.resolve(ADA, "churn@1.1.0")
    assert (await registry.resolve(ADA, "churn@1.0.0")).version == "1.0.0"


async def test_the_record_of_one_tenant_cannot_stand_for_anothers(bench: Any, registry: Any) -> None:
    await registry.register(ADA, draft(), FILES)
    mine = await row_of(bench)
    await registry.register(STRANGER, draft(weights="theirs"), FILES)
    signed = {"manifest": mine.manifest, "manifest_sha256": mine.manifest_sha256, "signature": mine.signature}
    await edit(bench, signed, versions.c.tenant == "t2")
    with pytest.raises(NotTrustworthy):
        await registry.resolve(STRANGER, "churn")


async def test_a_record_signed_by_an_unknown_key_is_not_trusted(bench: Any) -> None:
    await bench.registry(seal=Seal(Signer.generate())).register(ADA, draft(), FILES)
    with pytest.raises(NotTrustworthy):
        await bench.registry().resolve(ADA, "churn")


async def test_a_record_signed_by_a_trusted_key_is_trusted(bench: Any) -> None:
    former = Signer.generate()
    made = await bench.registry(seal=Seal(former)).register(ADA, draft(), FILES)
    registry = bench.registry(seal=Seal(bench.signer, trusted=[former.public]))
    assert await registry.resolve(ADA, "churn") == made
    assert (await registry.register(ADA, draft(weights="w2"), FILES)).key_id == bench.signer.key_id


async def test_a_stage_is_not_signed_so_its_change_is_not_found_here(bench: Any, registry: Any) -> None:
    """The limit of the signature, told in the README: stages are guarded by the audit log alone."""
    await registry.register(ADA, draft(), FILES)
    await edit(bench, {"stage": "production"})
    assert (await registry.resolve(ADA, "churn@production")).version == "1.0.0"


@pytest.mark.parametrize(
    "wrong", [b"", b"x", b"weights and ALL", b"weights and all and more", b"y" * (3 << 20)], ids=len
)
async def test_a_consumer_never_gets_a_complete_wrong_file(bench: Any, registry: Any, wrong: bytes) -> None:
    made = await registry.register(ADA, draft(), FILES)
    await bench.blobs.put(blob_name("t1", made.files[1].sha256), wrong)
    got = b""
    with pytest.raises(NotTrustworthy):
        async for piece in registry.artifact(ADA, "churn", "1.0.0", "model.onnx"):
            got += piece
    assert got != wrong or not wrong


async def test_a_wrong_end_of_a_large_file_is_held_back(bench: Any, registry: Any) -> None:
    content = b"a" * ((1 << 20) + 500)
    made = await bench.registry(most_bytes=1 << 22).register(ADA, draft(), {"large": content})
    await bench.blobs.put(blob_name("t1", made.files[0].sha256), content[:-1] + b"b")
    got = []
    with pytest.raises(NotTrustworthy):
        async for piece in registry.artifact(ADA, "churn", "1.0.0", "large"):
            got.append(piece)
    assert b"".join(got) == content[: 1 << 20]


async def test_swapped_files_are_not_trusted(bench: Any, registry: Any) -> None:
    made = await registry.register(ADA, draft(), FILES)
    one, other = (blob_name("t1", file.sha256) for file in made.files)
    first, second = await bench.blobs.get(one), await bench.blobs.get(other)
    await bench.blobs.put(one, second)
    await bench.blobs.put(other, first)
    for file in made.files:
        with pytest.raises(NotTrustworthy):
            [piece async for piece in registry.artifact(ADA, "churn", "1.0.0", file.name)]


async def test_a_file_that_is_gone_is_not_trusted(bench: Any, registry: Any) -> None:
    made = await registry.register(ADA, draft(), FILES)
    await bench.blobs.delete(blob_name("t1", made.files[0].sha256))
    with pytest.raises(NotTrustworthy):
        [piece async for piece in registry.artifact(ADA, "churn", "1.0.0", made.files[0].name)]
    await registry.register(ADA, draft(), FILES)
    assert b"".join([p async for p in registry.artifact(ADA, "churn", "1.0.0", "bands.json")]) == b"{}"
