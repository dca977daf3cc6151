"""The last report of each tenant's audit verification, so that pages can tell of it without verifying again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from ...core.security.contract import AuditReport

_MOST_TENANTS = 1000


@dataclass(frozen=True, slots=True)
class Verification:
    """A report and when it was made."""

    at: datetime
    report: AuditReport


class Verifications:
    """Kept in this process only: after a restart nothing counts as verified."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, Verification] = OrderedDict()

    def note(self, tenant: str, verification: Verification) -> None:
        """Remember it in place of the one before."""
        self._last[tenant] = verification
        self._last.move_to_end(tenant)
        if len(self._last) > _MOST_TENANTS:
            self._last.popitem(last=False)

    def last(self, tenant: str) -> Verification | None:
        """The newest one made through this console."""
        return self._last.get(tenant)
