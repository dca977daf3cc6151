"""A test's clock moves only when told."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest

from stanchion.testing.clock import FakeClock


def test_both_times_move_together_and_only_by_advance() -> None:
    clock = FakeClock()
    now, monotonic = clock.now(), clock.monotonic()
    assert (clock.now(), clock.monotonic()) == (now, monotonic)
    clock.advance(1.5)
    assert clock.now() - now == timedelta(seconds=1.5)
    assert clock.monotonic() - monotonic == 1.5
    assert clock.now().tzinfo is UTC


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="back"):
        FakeClock().advance(-1)
