"""The feature store's offline side: training sets without knowledge of the future, and filling the online side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action


@dataclass(frozen=True, slots=True)
class Progress:
    """One finished partition of a materialisation. `done` and `total` count partitions, `rows` what it stored.

    `partition` is the start of its stretch of event time; `skipped` says that an earlier run had done it.
    """

    job: str
    partition: datetime
    rows: int
    done: int
    total: int
    skipped: bool = False


class OfflineFeatures(Protocol):
    """Training sets, materialisation and backfill of the caller's tenant."""

    @action("features:train", effect="read", resource="FeatureService", by="service", seconds=3600)
    def historical(
        self,
        ctx: Context,
        service: str,
        spine: bytes,
        *,
        time: str,
        as_of: Literal["known", "event"] = "known",
        status: bool = False,
    ) -> AsyncIterator[bytes]:
        """The spine's rows, each with the service's features as they were at its `time`, in the spine's order.

        `spine` is an Arrow IPC stream with the entity keys, the column `time` (with time zone) and the fields of
        the request; pieces of the answer joined are one Arrow IPC stream with the spine's columns and the features
        behind them. `known` counts only rows that were known at that time, late data and corrections included as
        they arrived; `event` goes by event time alone. A value past its view's TTL is null, as it is online.
        With `status` a column `status:VIEW` for each view stands last, with what the view says: present, stale (its
        newest event is past the TTL) or unknown (it is past twice the TTL and all windows, or there is none).
        Raises NotFound, InvalidInput (also for rows from before what is kept of pushed ones), PayloadTooLarge.
        """
        ...

    @action("features:write", effect="write", resource="FeatureView", by="view", seconds=86_400)
    def materialise(
        self, ctx: Context, view: str, *, start: datetime | None = None, end: datetime | None = None
    ) -> AsyncIterator[Progress]:
        """Bring the online side up to date from the view's source, partition by partition.

        Without `start`, from where the last run ended; with it, a backfill of that stretch. Killed at any moment it
        resumes where it stopped, and doing it twice changes nothing. Each partition is one audit event. Raises
        NotFound, InvalidInput, Conflict (another run has the view), Unavailable (the source cannot be read).
        """
        ...
