"""What the vault sealed opens where it belongs, and nowhere else; secrets show themselves nowhere."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stanchion.core.context import Context, system_context
from stanchion.core.errors import Misconfigured, NotFound, NotTrustworthy
from stanchion.core.security.keyfile import create_private
from stanchion.core.security.secrets import OWN, Secret, SecretSource
from stanchion.core.security.tables import data_keys, stored_secrets
from stanchion.core.security.vault import MasterKeys, Vault
from stanchion.core.storage.contract import Database
from stanchion.testing.clock import FakeClock

OLD, NEW = b"m" * 32, b"n" * 40
CTX: Context = system_context("acme", task="test")
fixed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def vault_on(database: Database, masters: MasterKeys | None = None) -> Vault:
    return Vault(database, masters or MasterKeys.single(OLD), clock=FakeClock())


@fixed
@given(plain=st.binary(max_size=200), place=st.text(max_size=20))
async def test_what_was_sealed_opens_in_its_place(memory: Database, plain: bytes, place: str) -> None:
    vault = vault_on(memory)
    sealed = await vault.encrypt("acme", place, plain)
    assert len(sealed) == len(plain) + 33
    assert await vault.decrypt("acme", place, sealed) == plain
    assert await vault.encrypt("acme", place, plain) != sealed


@fixed
@given(position=st.integers(0, 40), bit=st.integers(0, 7), cut=st.integers(0, 40))
async def test_a_changed_or_shortened_item_does_not_open(memory: Database, position: int, bit: int, cut: int) -> None:
    vault = vault_on(memory)
    sealed = await vault.encrypt("acme", "row/1", b"contents")
    changed = bytearray(sealed)
    changed[position] ^= 1 << bit
    for bad in (bytes(changed), sealed[:cut], sealed + b"x"):
        with pytest.raises(NotTrustworthy):
            await vault.decrypt("acme", "row/1", bad)


@fixed
@given(st.tuples(st.text(max_size=5), st.text(max_size=5)), st.tuples(st.text(max_size=5), st.text(max_size=5)))
async def test_an_item_moved_to_another_row_or_tenant_does_not_open(
    memory: Database, home: tuple[str, str], away: tuple[str, str]
) -> None:
    vault = vault_on(memory)
    sealed = await vault.encrypt(*home, b"contents")
    await vault.encrypt(away[0], "x", b"")
    if home != away:
        with pytest.raises(NotTrustworthy):
            await vault.decrypt(*away, sealed)


async def test_a_wrapped_key_moved_to_another_tenant_does_not_open(memory: Database) -> None:
    vault = vault_on(memory)
    sealed = await vault.encrypt("acme", "row", b"contents")
    moved = data_keys.update().values(tenant="rival")
    await memory.write(CTX, lambda connection: connection.execute(moved))
    with pytest.raises(NotTrustworthy):
        await vault_on(memory).decrypt("rival", "row", sealed)


async def test_after_rotation_old_and_new_items_open_everywhere(database: Database) -> None:
    vault, elsewhere = vault_on(database), vault_on(database)
    old = await vault.encrypt("acme", "row", b"old")
    assert await elsewhere.decrypt("acme", "row", old) == b"old"
    assert await vault.rotate(CTX, tenant="acme") == 2
    new = await vault.encrypt("acme", "row", b"new")
    for one in (vault, elsewhere):
        assert await one.decrypt("acme", "row", old) == b"old"
        assert await one.decrypt("acme", "row", new) == b"new"


async def test_two_processes_that_seal_first_at_once_share_one_key(database: Database) -> None:
    vaults = [vault_on(database) for _ in range(4)]
    sealed = await asyncio.gather(*(vault.encrypt("acme", "row", b"x") for vault in vaults))
    rows = await database.read(lambda connection: connection.execute(data_keys.select()).all())
    assert len(rows) == 1
    assert [await vaults[0].decrypt("acme", "row", item) for item in sealed] == [b"x"] * 4


async def test_a_new_master_key_takes_over_without_touching_the_data(database: Database) -> None:
    sealed = await vault_on(database).encrypt("acme", "row", b"x")
    both = vault_on(database, MasterKeys.single(NEW, OLD))
    assert await both.decrypt("acme", "row", sealed) == b"x"
    assert await both.rewrap(CTX) == 1
    assert await both.rewrap(CTX) == 0
    assert await vault_on(database, MasterKeys.single(NEW)).decrypt("acme", "row", sealed) == b"x"
    with pytest.raises(Misconfigured, match="not configured"):
        await vault_on(database).decrypt("acme", "row", sealed)


async def test_a_forgotten_tenants_data_is_gone_and_others_stay(database: Database) -> None:
    vault = vault_on(database)
    gone = await vault.encrypt("acme", "row", b"x")
    kept = await vault.encrypt("rival", "row", b"y")
    assert await vault.forget(CTX, tenant="acme") == 1
    with pytest.raises(NotFound):
        await vault.decrypt("acme", "row", gone)
    assert await vault.decrypt("rival", "row", kept) == b"y"
    again = await vault.encrypt("acme", "row", b"z")
    assert await vault.decrypt("acme", "row", again) == b"z"
    with pytest.raises(NotFound):
        await vault.decrypt("acme", "row", gone)


def test_a_short_master_key_is_refused_and_none_is_shown() -> None:
    with pytest.raises(Misconfigured):
        MasterKeys.single(b"short")
    with pytest.raises(Misconfigured):
        MasterKeys("a", {"a": b"x" * 31})
    assert "x" * 8 not in repr(MasterKeys("a", {"a": b"x" * 32}))


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret("hunter2")
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{[secret]}", "%s" % secret):  # noqa: UP031  # each way of formatting
        assert "hunter2" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret == Secret("hunter2") != Secret("hunter3")
    assert not hasattr(secret, "__dict__")


@pytest.fixture
def source(memory: Database) -> SecretSource:
    return SecretSource(memory, vault_on(memory), environment={"TOKEN": "t", "EMPTY": ""}, clock=FakeClock())


async def test_references_are_fetched_from_where_they_point(source: SecretSource, tmp_path: Path) -> None:
    create_private(tmp_path / "secret", b"from a file\n")
    await source.put(CTX, "mail", Secret("first"))
    await source.put(CTX, "mail", Secret("second"))
    expected = {"env:TOKEN": "t", f"file:{tmp_path / 'secret'}": "from a file", "store:mail": "second"}
    for reference, value in expected.items():
        assert (await source.resolve(reference, tenant="acme")).reveal() == value


@pytest.mark.parametrize(
    "reference", ["env:EMPTY", "env:GONE", "file:/no/such", "store:gone", "store:", "TOKEN", "x:y", ""]
)
async def test_a_reference_that_gives_nothing_is_named(source: SecretSource, reference: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        await source.resolve(reference, tenant="acme")
    assert repr(reference) in caught.value.detail


async def test_a_tenant_reaches_its_own_stored_secrets_only(source: SecretSource) -> None:
    await source.put(CTX, "mail", Secret("s"))
    assert (await source.resolve("store:mail", tenant="acme", kinds=OWN)).reveal() == "s"
    for reference, tenant in (("env:TOKEN", "acme"), ("file:/etc/hostname", "acme"), ("store:mail", "rival")):
        with pytest.raises(Misconfigured):
            await source.resolve(reference, tenant=tenant, kinds=OWN)


async def test_stored_secrets_are_sealed_and_bound_to_their_row(source: SecretSource, memory: Database) -> None:
    await source.put(CTX, "mail", Secret("hunter2"))
    await source.put(replace(CTX, tenant="rival"), "mail", Secret("theirs"))
    rows = await memory.read(lambda connection: connection.execute(stored_secrets.select()).all())
    assert b"hunter2" not in b"".join(row.sealed for row in rows)
    stolen = stored_secrets.update().where(stored_secrets.c.tenant == "rival").values(sealed=rows[0].sealed)
    await memory.write(CTX, lambda connection: connection.execute(stolen))
    with pytest.raises(NotTrustworthy):
        await source.resolve("store:mail", tenant="rival")
