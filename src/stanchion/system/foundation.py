"""The ground floor of a running process: storage, telemetry, security and the gate, before any module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..core.clock import Clock
from ..core.contract import Action, methods
from ..core.errors import Misconfigured
from ..core.flags import Flag, Flags
from ..core.flags.service import SCHEMA as FLAGS_SCHEMA
from ..core.flags.service import FlagService
from ..core.gate import Gate
from ..core.security.audit.blob_sink import BlobSink
from ..core.security.audit.file_sink import FileSink
from ..core.security.audit.journal import AuditJournal
from ..core.security.audit.ports import CheckpointSink
from ..core.security.audit.service import AuditLog
from ..core.security.authenticate import Doorkeeper
from ..core.security.contract import Audit, Keys, Policies
from ..core.security.keys import KeyService
from ..core.security.policy.service import PolicyService
from ..core.security.sessions import Sessions
from ..core.security.tables import SECURITY_SCHEMA
from ..core.security.tokens import Issuers
from ..core.security.vault import MasterKeys, Vault
from ..core.security.verifier import KeyVerifier
from ..core.settings import BackendSettings, HouseSettings
from ..core.storage import Blobs, Database, KeyValue
from ..core.storage.open import open_blobs, open_database, open_keyvalue
from ..core.telemetry.content import ContentStore
from ..core.telemetry.contract import Contents, Observatory
from ..core.telemetry.instruments import Book, GateInstruments
from ..core.telemetry.ledger import Ledger
from ..core.telemetry.metrics import Metrics
from ..core.telemetry.retention import Retention
from ..core.telemetry.service import TelemetryService
from ..core.telemetry.spans import SpanRecorder
from ..core.telemetry.tables import TELEMETRY_SCHEMA
from .keys import HouseKeys

CORE_CONTRACTS: tuple[type[Any], ...] = (Keys, Policies, Audit, Observatory, Contents, Flags)


@dataclass(frozen=True, slots=True)
class Stores:
    """The engines behind the storage ports of one process."""

    state: Database
    telemetry: Database
    keyvalue: KeyValue
    blobs: Blobs

    async def close(self) -> None:
        """Finish what was asked for, then close."""
        await self.state.close()
        await self.telemetry.close()
        await self.keyvalue.close()
        await self.blobs.close()


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every module of a process stands on. `doors` holds the core's own gated contracts."""

    clock: Clock
    keys: HouseKeys
    stores: Stores
    metrics: Metrics
    spans: SpanRecorder
    content: ContentStore
    retention: Retention
    flags: FlagService
    ledger: Ledger
    book: Book
    instruments: GateInstruments
    audit: AuditLog
    policies: PolicyService
    key_service: KeyService
    verifier: KeyVerifier
    sessions: Sessions
    doorkeeper: Doorkeeper
    vault: Vault
    gate: Gate
    doors: Mapping[type[Any], object]

    async def close(self) -> None:
        """Flush and close, the audit log last: the last commits are signed for, too."""
        await self.ledger.stop()
        await self.spans.stop()
        await self.verifier.flush()
        await self.stores.close()
        await self.audit.close()


def open_stores(folder: Path, settings: HouseSettings, journal: AuditJournal, clock: Clock) -> Stores:
    """The engines that the settings name; embedded ones lie in the data folder."""
    backend = settings.backend
    return Stores(
        state=state_database(folder, settings, journal),
        telemetry=open_database(
            _url("telemetry", backend.telemetry, f"sqlite:///{folder}/telemetry.db"), durable=False
        ),
        keyvalue=open_keyvalue(_url("keyvalue", backend.keyvalue, f"sqlite:///{folder}/keyvalue.db"), clock=clock),
        blobs=open_blobs(_url("blobs", backend.blobs, f"file://{folder}/blobs")),
    )


def state_database(folder: Path, settings: HouseSettings, journal: AuditJournal) -> Database:
    """The database of state and audit log."""
    return open_database(_url("sql", settings.backend.sql, f"sqlite:///{folder}/state.db"), journal=journal)


def checkpoint_file(folder: Path) -> Path:
    """Where the audit log's checkpoints lie on this machine."""
    return folder / "audit" / "checkpoints.log"


def checkpoint_sinks(folder: Path, settings: HouseSettings, clock: Clock) -> list[CheckpointSink]:
    """Where checkpoints of the audit log go: a file of this machine, and the place that the settings name."""
    url = _url("checkpoints", settings.backend.checkpoints, "")
    return [FileSink(checkpoint_file(folder), clock), *([BlobSink(open_blobs(url), clock)] if url else [])]


def _url(port: str, settings: BackendSettings, embedded: str) -> str:
    if settings.use == "embedded":
        return embedded
    if settings.use == "memory":
        return "memory:"
    if settings.url is None:
        raise Misconfigured(f"backend.{port}.use is {settings.use!r}, so backend.{port}.url must be set")
    return settings.url


async def lay(
    folder: Path,
    settings: HouseSettings,
    keys: HouseKeys,
    clock: Clock,
    contracts: Iterable[type[Any]],
    flags: Sequence[Flag] = (),
) -> Foundation:
    """Open the stores, bring their tables up to date, check the audit log, and build the gate.

    `contracts` are those of all modules, near and far: policies may name their actions. `flags` are the declared ones.
    """
    # The sink makes its file and no folder: one that was removed must not come back empty.
    checkpoint_file(folder).parent.mkdir(mode=0o700, exist_ok=True)
    journal = AuditJournal(keys.signer, checkpoint_sinks(folder, settings, clock), clock)
    stores = open_stores(folder, settings, journal, clock)
    audit = AuditLog(stores.state, journal, clock)
    await audit.prepare()
    for schema in (SECURITY_SCHEMA, FLAGS_SCHEMA):
        await stores.state.prepare(schema)
    await stores.telemetry.prepare(TELEMETRY_SCHEMA)
    await audit.heal()
    return await _secured(folder, settings, keys, clock, contracts, stores, audit, flags)


async def _secured(
    folder: Path,
    settings: HouseSettings,
    keys: HouseKeys,
    clock: Clock,
    contracts: Iterable[type[Any]],
    stores: Stores,
    audit: AuditLog,
    declared_flags: Sequence[Flag],
) -> Foundation:
    actions: list[Action] = [m.action for c in (*CORE_CONTRACTS, *contracts) for m in methods(c)]
    policies = PolicyService(stores.state, actions=actions, clock=clock)
    await policies.refresh()
    verifier = KeyVerifier(stores.state, pepper=keys.pepper, clock=clock)
    key_service = KeyService(stores.state, verifier=verifier, pepper=keys.pepper, clock=clock)
    sessions = Sessions(stores.state, verifier=verifier, pepper=keys.pepper, clock=clock)
    metrics = Metrics(version=version("stanchion"))
    spans = SpanRecorder(stores.telemetry, clock)
    ledger = Ledger(stores.telemetry)
    instruments = GateInstruments(metrics, spans)
    gate = Gate(authoriser=policies, recorder=audit, instruments=instruments, clock=clock)
    flags = FlagService(database=stores.state, clock=clock, declared=declared_flags)
    vault = Vault(stores.state, MasterKeys.single(keys.master), clock=clock)
    content = ContentStore(stores.telemetry, vault, clock, enabled=settings.telemetry.capture)
    days = settings.telemetry.retention_days
    retention = Retention(
        {ledger.prune: days, spans.prune: days, content.prune: settings.telemetry.capture_days}, clock
    )
    _watch(metrics, ledger, spans, audit)
    services: dict[type[Any], object] = {
        Keys: key_service,
        Policies: policies,
        Audit: audit,
        Observatory: TelemetryService(stores.telemetry, clock, metrics),
        Contents: content,
        Flags: flags,
    }
    tokens = Issuers(settings.identity.issuers, clock=clock) if settings.identity.issuers else None
    return Foundation(
        clock=clock,
        keys=keys,
        stores=stores,
        metrics=metrics,
        spans=spans,
        content=content,
        retention=retention,
        flags=flags,
        ledger=ledger,
        book=Book(ledger, metrics),
        instruments=instruments,
        audit=audit,
        policies=policies,
        key_service=key_service,
        verifier=verifier,
        sessions=sessions,
        doorkeeper=Doorkeeper(keys=verifier, sessions=sessions, tokens=tokens),
        vault=vault,
        gate=gate,
        doors={contract: gate.wrap(contract, service) for contract, service in services.items()},
    )


def _watch(metrics: Metrics, ledger: Ledger, spans: SpanRecorder, audit: AuditLog) -> None:
    """Let the gauges read what they show when they are asked for it."""
    metrics.backlog.watch(lambda: ledger.backlog, "ledger")
    metrics.backlog.watch(lambda: spans.backlog, "spans")
    metrics.dropped.watch(lambda: spans.dropped)
    metrics.audit.watch(lambda: audit.size)
