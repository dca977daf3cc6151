"""The contract of Reviews as tests: subclass `ReviewSuite` and give it a door to queues declared by `SPECS`.

The clock is a FakeClock that the door reads; `passes` moves it and lets the door do what is due. The door must hold no
item of the tenants `t1` and `t2` and permit everybody all.
"""

from __future__ import annotations

from stanchion.testing.review_decisions import DecisionTests
from stanchion.testing.review_quality import QualityTests
from stanchion.testing.review_queue import QueueTests


class ReviewSuite(QueueTests, DecisionTests, QualityTests):
    """Override the async fixtures `reviews` and `passes`."""
