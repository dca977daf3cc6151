"""What keeps one failing part from taking the rest down: ladders, breakers, retries, limits, deadlines."""

from .breaker import Breaker, BreakerRules, BreakerView, Permit
from .concurrency import Adaptive, ConcurrencyLimiter
from .deadline import bounded
from .ladder import Attempt, Decline, Hedge, Ladder, Rung, Step
from .rate import Rate, RateLimiter, SharedRateLimiter
from .retry import Retry, RetryBudget, RetryRules

__all__ = [
    "Adaptive",
    "Attempt",
    "Breaker",
    "BreakerRules",
    "BreakerView",
    "ConcurrencyLimiter",
    "Decline",
    "Hedge",
    "Ladder",
    "Permit",
    "Rate",
    "RateLimiter",
    "Retry",
    "RetryBudget",
    "RetryRules",
    "Rung",
    "SharedRateLimiter",
    "Step",
    "bounded",
]
