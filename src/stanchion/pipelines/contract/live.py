"""A run as its own code sees it, and a step as its stage sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Protocol, TypeVar

from ...core.context import Context
from ...core.values import Json

T = TypeVar("T")


class Step(Protocol):
    """A stage asks for it by a parameter of this type."""

    key: str
    """The same at each attempt and in no other step of any run: what makes a call outside idempotent."""
    attempt: int
    dry: bool

    def quarantine(self, record: str, reason: str, row: Any = None) -> None:
        """Set a row aside with a reason; kept with the step's answer, in one commit."""
        ...

    def note(self, text: str) -> None:
        """Keep a line with the step, at most 100 of them; names and counts, no personal data."""
        ...


class LiveRun(Protocol):
    """What the code of a pipeline works with. What lies between its steps runs again after each wait and each crash.

    So that code must do the same each time: it asks `now` for the time and does all else in stages.
    """

    id: str
    ctx: Context
    """Rights, tenant and trace of who started the run; never more."""

    def step(self, stage: Callable[..., T], /, *args: Any, **kwargs: Any) -> Awaitable[T]:
        """The answer of a declared stage: from the journal if it has one, else by calling it."""
        ...

    def map(self, stage: Callable[..., T], items: Sequence[Any], *, parallel: int = 8) -> Awaitable[list[T]]:
        """A stage's answers for each item, in their order; at most `parallel` at once."""
        ...

    def wait(self, name: str, *, timeout: float | None = None, kind: Any = None) -> Awaitable[Any]:
        """The value of the next signal of that name, as `kind` (default: plain JSON).

        The run is parked meanwhile, for days if need be. Raises DeadlineExceeded after `timeout` seconds.
        """
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait so long, parked."""
        ...

    def child(
        self, pipeline: str, inputs: Any, *, key: str | None = None, partition: str | None = None
    ) -> Awaitable[Json]:
        """The output of a run of another pipeline, started once for its key, with this run's rights.

        `partition` names the part of a whole that it is for. Raises StageFailed (`run_failed`) if it does not end well.
        Cancelling this run cancels it.
        """
        ...

    def now(self) -> Awaitable[datetime]:
        """The moment at which this line was first reached."""
        ...


_live: ContextVar[LiveRun | None] = ContextVar("stanchion_live_run", default=None)


def live_run() -> LiveRun | None:
    """The run whose code is calling; None outside of runs and inside of stages."""
    return _live.get()


def enter_run(run: LiveRun | None) -> None:
    """Tell the present task which run's code it is."""
    _live.set(run)
