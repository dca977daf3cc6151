"""What a handler adds to the transaction that ends its handling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...core.errors import InvalidInput
from .event import Event
from .rules import check

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Commit:
    """Gathers what commits together with the note that the event is handled: all of it, once, or nothing.

    It is given to a handler that has a parameter of this type, and closed when the handler returns.
    """

    def __init__(self) -> None:
        self.works: list[Callable[[Connection], None]] = []
        self.events: list[Event] = []
        self._closed = False

    def write(self, work: Callable[[Connection], None]) -> None:
        """Run `work` in the house's database within that transaction. It may run more than once, and count only once.

        An exception of it undoes the handling, which is then tried again.
        """
        self._open()
        self.works.append(work)

    def publish(self, *events: Event) -> None:
        """Publish follow-up events with it. Raises InvalidInput for one that could not be published.

        Data that do not fit the schema of their type, and types in which the house tells of itself, make the handling
        fail once the handler has returned.
        """
        self._open()
        check(events)
        self.events += events

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True

    def _open(self) -> None:
        if self._closed:
            raise InvalidInput("the handler has returned: nothing can be added to its commit")
