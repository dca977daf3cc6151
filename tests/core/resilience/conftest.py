from __future__ import annotations

from collections.abc import Callable

import pytest

from stanchion.core.context import Context
from stanchion.core.storage.open import open_keyvalue
from stanchion.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def new_clock() -> Callable[[], FakeClock]:
    """For property tests, which need a fresh clock for each example."""
    return FakeClock


@pytest.fixture(scope="session")
def ctx() -> Context:
    return Context(tenant="acme", principal="key:1")


@pytest.fixture
async def store(clock):
    opened = open_keyvalue("memory:", clock=clock)
    yield opened
    await opened.close()
