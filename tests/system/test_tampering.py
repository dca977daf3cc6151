"""A stopped system's data folder changed from outside: found, named, and never served or opened."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
MODEL = "customer-churn-v2"


@pytest.fixture(scope="module")
def stopped(trained: Path, tmp_path_factory: pytest.TempPathFactory, commands: Run) -> Path:
    """A data folder with a dozen audit events, its version in production, and nothing running."""
    data = tmp_path_factory.mktemp("stopped") / "data"
    shutil.copytree(trained, data)
    done = commands("models", "promote", MODEL, "1.0.0", "--evidence", "x", "--data", data, cwd=data)
    assert done.returncode == 0, done.stderr
    for number in range(3):
        made = commands(
            "keys", "create", "--name", f"k{number}", "--role", "viewer", "--data", data, "--json", cwd=data
        )
        assert commands("keys", "revoke", json.loads(made.stdout)["id"], "--data", data, cwd=data).returncode == 0
    return data


@pytest.fixture
def folder(stopped: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(stopped, copy)
    return copy


def run_sql(data: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data / "state.db")) as link, link:
        for statement in statements:
            link.execute(statement)


def edit(data: Path) -> None:
    run_sql(data, "UPDATE audit_events SET body = replace(body, 'operator:', 'outsider:') WHERE seq = 2")


def edit_column(data: Path) -> None:
    run_sql(data, "UPDATE audit_events SET action = 'keys:list' WHERE seq = 3")


def delete(data: Path) -> None:
    run_sql(data, "DELETE FROM audit_events WHERE seq = 2")


def truncate(data: Path) -> None:
    run_sql(data, "DELETE FROM audit_events WHERE seq >= 4")


def truncate_with_head(data: Path) -> None:
    """As above, with a head row that fits what is left."""
    rechain(data, keep=4)


def reorder(data: Path) -> None:
    run_sql(
        data,
        "UPDATE audit_events SET seq = -1 WHERE seq = 2",
        "UPDATE audit_events SET seq = 2 WHERE seq = 3",
        "UPDATE audit_events SET seq = 3 WHERE seq = -1",
    )


def rechain(data: Path, *, keep: int | None = None) -> None:
    """Change one event and make every hash anew, as one can who has the program and the database, but not the key."""
    from stanchion.core.security.audit.merkle import CHAIN_START, CompactRange, chain_hash, leaf_hash

    with closing(sqlite3.connect(data / "state.db")) as link, link:
        rows = link.execute("SELECT seq, body FROM audit_events ORDER BY seq").fetchall()
        chain, tree = CHAIN_START, CompactRange()
        for seq, body in rows:
            if keep is not None and seq >= keep:
                link.execute("DELETE FROM audit_events WHERE seq = ?", (seq,))
                continue
            changed = body.replace(b"operator:", b"outsider:") if seq == 2 and keep is None else body
            leaf = leaf_hash(changed)
            chain = chain_hash(chain, leaf)
            tree.push(leaf)
            link.execute("UPDATE audit_events SET body = ?, hash = ? WHERE seq = ?", (changed, chain, seq))
        link.execute("UPDATE audit_head SET size = ?, chain = ?, peaks = ?", (tree.size, chain, tree.packed()))


def notes(data: Path) -> list[str]:
    return (data / "audit" / "checkpoints.log").read_text().splitlines()


def edit_checkpoint(data: Path) -> None:
    lines = notes(data)
    origin, size, root, *rest = json.loads(lines[-1]).split("\n")
    other = base64.b64encode(hashlib.sha256(root.encode()).digest()).decode()
    lines[-1] = json.dumps("\n".join((origin, size, other, *rest)), ensure_ascii=False)
    (data / "audit" / "checkpoints.log").write_text("\n".join(lines) + "\n")


def scribble_on_checkpoint(data: Path) -> None:
    lines = notes(data)
    lines[1] = json.dumps("nothing of the kind")
    (data / "audit" / "checkpoints.log").write_text("\n".join(lines) + "\n")


def forge_checkpoint(data: Path) -> None:
    """Re-chain, and sign for the result with another key."""
    from stanchion.core.security.audit.checkpoint import Checkpoint, parsed, sign
    from stanchion.core.security.audit.merkle import CompactRange
    from stanchion.core.security.signing import Signer

    origin = parsed(json.loads(notes(data)[-1])).origin
    rechain(data)
    with closing(sqlite3.connect(data / "state.db")) as link:
        size, peaks = link.execute("SELECT size, peaks FROM audit_head").fetchone()
    note = sign(Checkpoint(origin, size, CompactRange(size, peaks).root()), Signer.generate())
    (data / "audit" / "checkpoints.log").write_text(json.dumps(note.text, ensure_ascii=False) + "\n")


def remove_checkpoints(data: Path) -> None:
    (data / "audit" / "checkpoints.log").unlink()


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an edited event": (edit, "event 2: its hash does not follow"),
    "an edited column": (edit_column, "event 3: the column action says something else"),
    "a deleted event": (delete, "event 2 is missing"),
    "a truncated log": (truncate, "are missing at the end"),
    "a truncated log with its head": (truncate_with_head, "are missing at the end"),
    "events in another order": (reorder, "event 2: its body is that of event 3"),
    "a log chained anew": (rechain, "with another root"),
    "an edited checkpoint": (edit_checkpoint, "is not signed by a trusted key"),
    "a checkpoint written over": (scribble_on_checkpoint, "is not a readable checkpoint"),
    "a checkpoint of another key": (forge_checkpoint, "is not signed by a trusted key"),
    "checkpoints removed": (remove_checkpoints, "no checkpoint is there"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_changed_audit_log_is_found_and_the_change_is_named(folder: Path, commands: Run, name: str) -> None:
    change, message = FAULTS[name]
    change(folder)
    done = commands("audit", "verify", "--data", folder, "--json", cwd=folder)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert not report["ok"]
    assert any(message in fault for fault in report["faults"]), report["faults"]


@pytest.mark.parametrize("name", ["a truncated log with its head", "a log chained anew", "a checkpoint of another key"])
def test_nothing_goes_on_over_a_log_whose_past_was_made_anew(folder: Path, commands: Run, name: str) -> None:
    FAULTS[name][0](folder)
    before = notes(folder)
    done = commands("keys", "create", "--name", "x", "--role", "viewer", "--data", folder, "--json", cwd=folder)
    assert done.returncode == 1
    assert json.loads(done.stderr)["code"] == "not_trustworthy"
    assert notes(folder) == before
    doctor = commands("doctor", "--data", folder, "--json", cwd=folder)
    states = {finding["check"]: finding["state"] for finding in json.loads(doctor.stdout)}
    assert (doctor.returncode, states["audit log"], states["settings"]) == (1, "fault", "ok")


def test_the_untouched_log_is_intact(folder: Path, commands: Run) -> None:
    assert commands("audit", "verify", "--data", folder, cwd=folder).returncode == 0


def swap_blob(data: Path) -> None:
    """Put another valid graph in the place of the model's: its simple one in place of the primary one."""
    graphs = model_files(data)
    primary, simple = graphs["primary"], graphs["simple"]
    simple_content = simple.read_bytes()
    primary.chmod(0o600)
    primary.write_bytes(simple_content)


def model_files(data: Path) -> dict[str, Path]:
    with closing(sqlite3.connect(data / "state.db")) as link:
        (content,) = link.execute("SELECT manifest FROM registry_versions").fetchone()
    manifest = json.loads(content)
    digests = {file["name"]: file["sha256"] for file in manifest["files"]}
    found = {}
    for rung, name in manifest["metadata"]["rungs"].items():
        (found[rung],) = [path for path in (data / "blobs").rglob("*") if path.is_file() and digests[name] in str(path)]
    return found


def edit_manifest(data: Path) -> None:
    run_sql(data, "UPDATE registry_versions SET manifest = replace(manifest, '\"tenant\"', '\"tenanT\"')")


def edit_manifest_with_digest(data: Path) -> None:
    with closing(sqlite3.connect(data / "state.db")) as link, link:
        (content,) = link.execute("SELECT manifest FROM registry_versions").fetchone()
        changed = content.replace(b'"roc_auc":0.', b'"roc_auc":0.9')
        assert changed != content
        values = (changed, hashlib.sha256(changed).hexdigest())
        link.execute("UPDATE registry_versions SET manifest = ?, manifest_sha256 = ?", values)


def sign_with_another_key(data: Path) -> None:
    from stanchion.core.security.signing import Signer
    from stanchion.registry.seal import Seal

    edit_manifest_with_digest(data)
    with closing(sqlite3.connect(data / "state.db")) as link, link:
        (content,) = link.execute("SELECT manifest FROM registry_versions").fetchone()
        signed = Seal(Signer.generate()).sign(content)
        link.execute("UPDATE registry_versions SET signature = ?, key_id = ?", (signed.signature, signed.key_id))


SWAPS: dict[str, Callable[[Path], None]] = {
    "an edited manifest": edit_manifest,
    "an edited manifest and its digest": edit_manifest_with_digest,
    "a manifest signed by another key": sign_with_another_key,
}


@pytest.mark.parametrize("name", ["another graph", *SWAPS])
def test_a_model_that_was_changed_is_not_served(
    folder: Path, commands: Run, start: Callable[..., Any], name: str
) -> None:
    SWAPS.get(name, swap_blob)(folder)
    if name in SWAPS:
        shown = commands("models", "show", MODEL, "--data", folder, "--json", cwd=folder)
        assert (shown.returncode, json.loads(shown.stderr)["code"]) == (1, "not_trustworthy")
    running = start(folder, "--no-train")
    answer = running.predict()
    assert (answer.status, answer.json["served_by"], answer.json["model_version"]) == (200, "default", "none")
    served = running.ask("GET", f"/v1/serving/models/{MODEL}").json
    assert served["fault"].startswith("not_trustworthy: ")
    exact = running.ask("POST", "/v1/predictions", {"model_id": f"{MODEL}@1.0.0", "features": {}})
    assert (exact.status, exact.json["code"]) == (500, "not_trustworthy")
    assert running.stop() == 0


def test_models_show_says_when_the_files_of_a_version_were_changed(folder: Path, commands: Run) -> None:
    swap_blob(folder)
    shown = commands("models", "show", MODEL, "--data", folder, "--json", cwd=folder)
    assert (shown.returncode, json.loads(shown.stderr)["code"]) == (1, "not_trustworthy")
    assert "does not match its digest" in json.loads(shown.stderr)["detail"]


async def test_ciphertext_moved_to_another_row_or_tenant_does_not_open(folder: Path) -> None:
    rows = await seal_three(folder)
    acme_a, acme_b, globex_a = rows
    await opens(folder, acme_a, b"one")
    for here, there in ((acme_a, acme_b), (acme_a, globex_a)):
        swap_rows(folder, here, there)
        for place in (here, there):
            await refuses(folder, place)
        swap_rows(folder, here, there)
    await opens(folder, globex_a, b"three")


async def test_a_tenants_data_key_does_not_open_under_another_tenant(folder: Path) -> None:
    acme_a, _, globex_a = await seal_three(folder)
    with closing(sqlite3.connect(folder / "state.db")) as link, link:
        keys = dict(link.execute("SELECT tenant, wrapped FROM data_keys WHERE tenant IN ('acme', 'globex')").fetchall())
        link.execute("UPDATE data_keys SET wrapped = ? WHERE tenant = 'acme'", (keys["globex"],))
        # With the key goes the ciphertext: now both are the other tenant's.
        link.execute(
            "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE tenant = 'globex') WHERE name = 'a'"
        )
    await refuses(folder, acme_a)
    await opens(folder, globex_a, b"three")


Place = tuple[str, str]


async def with_secrets(data: Path, work: Callable[[Any], Any]) -> Any:
    """Do something with the stored secrets of a folder, through the parts that the program itself is built of."""
    from stanchion.core.clock import SystemClock
    from stanchion.core.security.secrets import SecretSource
    from stanchion.core.security.tables import SECURITY_SCHEMA
    from stanchion.core.security.vault import MasterKeys, Vault
    from stanchion.core.settings import SecretsSettings
    from stanchion.core.storage.open import open_database
    from stanchion.system.keys import house_keys

    database = open_database(f"sqlite:///{data}/state.db")
    try:
        await database.prepare(SECURITY_SCHEMA)
        master = house_keys(data / "keys", SecretsSettings(), {}).master
        vault = Vault(database, MasterKeys.single(master), clock=SystemClock())
        return await work(SecretSource(database, vault, environment={}, clock=SystemClock()))
    finally:
        await database.close()


async def seal_three(data: Path) -> tuple[Place, Place, Place]:
    from stanchion.core.context import system_context
    from stanchion.core.security.secrets import Secret

    async def work(source: Any) -> None:
        for tenant, name, value in (("acme", "a", "one"), ("acme", "b", "two"), ("globex", "a", "three")):
            await source.put(system_context(tenant, task="test"), name, Secret(value))

    await with_secrets(data, work)
    await asyncio.to_thread(absent, data, (b"one", b"three"))
    return ("acme", "a"), ("acme", "b"), ("globex", "a")


def absent(data: Path, values: tuple[bytes, ...]) -> None:
    with closing(sqlite3.connect(data / "state.db")) as link:
        sealed = [row[0] for row in link.execute("SELECT sealed FROM secrets")]
    assert not any(value in each for value in values for each in sealed)


def swap_rows(data: Path, here: Place, there: Place) -> None:
    with closing(sqlite3.connect(data / "state.db")) as link, link:
        read = "SELECT sealed FROM secrets WHERE tenant = ? AND name = ?"
        write = "UPDATE secrets SET sealed = ? WHERE tenant = ? AND name = ?"
        (one,), (other,) = link.execute(read, here).fetchone(), link.execute(read, there).fetchone()
        link.execute(write, (other, *here))
        link.execute(write, (one, *there))


async def opens(data: Path, place: Place, content: bytes) -> None:
    secret = await with_secrets(data, lambda source: source.resolve(f"store:{place[1]}", tenant=place[0]))
    assert secret.reveal().encode() == content


async def refuses(data: Path, place: Place) -> None:
    from stanchion.core.errors import NotTrustworthy

    with pytest.raises(NotTrustworthy, match=r"was changed, or belongs to another place|a key that its tenant"):
        await opens(data, place, b"")
