"""The audit log read from outside: even one that would not let a house start can be verified."""

from __future__ import annotations

import os

from ...core.clock import SystemClock
from ...core.errors import NotFound
from ...core.security.audit.journal import AuditJournal
from ...core.security.audit.service import AuditLog
from ...core.security.contract import AuditReport
from ...core.settings import HouseSettings
from ...system.foundation import checkpoint_sinks, state_database
from ...system.keys import house_keys
from .office import Options, operator, read_settings


async def inspected(options: Options) -> AuditReport:
    """The report on the data folder's log. Raises NotFound if there is no log at all."""
    settings: HouseSettings = read_settings(options).settings
    folder = options.data.absolute()
    if settings.backend.sql.use == "embedded" and not (folder / "state.db").is_file():
        raise NotFound(f"there is no audit log in {options.data}", next_step="Name the data folder with --data.")
    keys = house_keys(folder / "keys", settings.secrets, dict(os.environ))
    clock = SystemClock()
    journal = AuditJournal(keys.signer, checkpoint_sinks(folder, settings, clock), clock)
    database = state_database(folder, settings, journal)
    log = AuditLog(database, journal, clock)
    try:
        return await log.verify(operator(settings.tenant))
    finally:
        await database.close()
        await log.close()
