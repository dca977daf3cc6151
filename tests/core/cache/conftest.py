from __future__ import annotations

import pytest

from stanchion.core.context import Context
from stanchion.core.storage.open import open_keyvalue
from stanchion.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ctx() -> Context:
    return Context(tenant="acme", principal="key:1")


@pytest.fixture
async def store(clock):
    opened = open_keyvalue("memory:", clock=clock)
    yield opened
    await opened.close()
