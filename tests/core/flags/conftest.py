from __future__ import annotations

import pytest

from stanchion.core.context import Context
from stanchion.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ctx() -> Context:
    return Context(tenant="acme", principal="key:1")
