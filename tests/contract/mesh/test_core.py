"""Keys, policies, audit log, telemetry and flags keep their contracts near and far, on every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.flags import Flags
from stanchion.core.gate import Recorder
from stanchion.core.security.contract import Audit, Authenticator, Keys, Policies
from stanchion.core.telemetry.contract import LedgerRow, Observatory
from stanchion.testing.audit import AuditSuite
from stanchion.testing.clock import FakeClock
from stanchion.testing.flags import FlagsSuite
from stanchion.testing.keys import KeysSuite
from stanchion.testing.observatory import Ledgered, ObservatorySuite, Traced
from stanchion.testing.policies import PoliciesSuite


class TestKeys(KeysSuite):
    @pytest.fixture
    async def place(self, placed: Any, clock: FakeClock) -> AsyncIterator[Any]:
        async with placed(clock=clock) as found:
            yield found

    @pytest.fixture
    def clock(self) -> FakeClock:
        # Certificates know the present time only.
        return FakeClock(SystemClock().now())

    @pytest.fixture
    def keys(self, place: Any) -> Keys:
        found: Keys = place.door(Keys)
        return found

    @pytest.fixture
    def authenticator(self, place: Any) -> Authenticator:
        found: Authenticator = place.house.foundation.doorkeeper
        return found


class TestPolicies(PoliciesSuite):
    @pytest.fixture
    async def policies(self, placed: Any) -> AsyncIterator[Policies]:
        async with placed(clock=SystemClock()) as place:
            yield place.door(Policies)


class TestAudit(AuditSuite):
    @pytest.fixture
    async def place(self, placed: Any) -> AsyncIterator[Any]:
        async with placed(clock=SystemClock()) as found:
            yield found

    @pytest.fixture
    def audit(self, place: Any) -> Audit:
        found: Audit = place.door(Audit)
        return found

    @pytest.fixture
    def recorder(self, place: Any) -> Recorder:
        found: Recorder = place.house.foundation.audit
        return found


class TestFlags(FlagsSuite):
    @pytest.fixture
    async def flags(self, placed: Any) -> AsyncIterator[Flags]:
        async with placed(clock=SystemClock()) as place:
            yield place.door(Flags)


class TestObservatory(ObservatorySuite):
    @pytest.fixture
    async def place(self, placed: Any, clock: FakeClock) -> AsyncIterator[Any]:
        async with placed(clock=clock) as found:
            yield found

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock(SystemClock().now())

    @pytest.fixture
    def observatory(self, place: Any) -> Observatory:
        found: Observatory = place.door(Observatory)
        return found

    @pytest.fixture
    def ledgered(self, place: Any) -> Ledgered:
        async def store(row: LedgerRow) -> None:
            place.house.foundation.ledger.write(row)
            await place.house.foundation.ledger.flush()

        return store

    @pytest.fixture
    def traced(self, place: Any, clock: FakeClock) -> Traced:
        async def record(ctx: Context, seconds: float) -> None:
            spans = place.house.foundation.spans
            with spans.span(ctx, "outer") as outer:
                clock.advance(seconds / 2)
                with spans.span(outer, "inner"):
                    clock.advance(seconds / 2)
            await spans.flush()

        return record
