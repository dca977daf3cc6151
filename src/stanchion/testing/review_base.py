"""What the parts of the contract suite of reviews stand on: the door, its clock, and how time passes."""

from __future__ import annotations

import pytest

from stanchion.review import Reviews
from stanchion.testing.clock import FakeClock
from stanchion.testing.review_cases import Passes


class ReviewTests:
    """Override the async fixtures `reviews` and `passes`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def reviews(self) -> Reviews:
        raise NotImplementedError("override the fixture `reviews`")

    @pytest.fixture
    def passes(self) -> Passes:
        raise NotImplementedError("override the fixture `passes`")
