"""The contract of Events as tests: subclass `EventsSuite` and give it a way to run the module over a bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Protocol, TypeVar, cast

import pytest

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, PayloadTooLarge, Throttled
from stanchion.events import Commit, Delivered, Delivery, Event, Events, HandlerSpec, Outcome, Selection, Verdict

from .events import caller

T = TypeVar("T")
PATIENCE = 60.0


class Opens(Protocol):
    """Runs the module with these declarations and settings over the suite's bus."""

    def __call__(self, *declared: object, **settings: Any) -> AbstractAsyncContextManager[Events]: ...


async def eventually(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """What `look` gives, once `holds` is true of it."""
    async with asyncio.timeout(PATIENCE):
        for _ in count():
            found = await look()
            if holds(found):
                return found
            await asyncio.sleep(0.02)
    raise AssertionError("unreachable")


def event(number: int, key: str = "k", kind: str = "test.made", **extensions: str | int | bool) -> Event:
    """An event whose data tell its number."""
    return Event.of(kind, "/test", {"n": number}, subject=key, **extensions)


class Seen:
    """A handler that notes what it is given, and fails where it is told to."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.contexts: list[Context] = []
        self.faults: dict[int, list[Exception]] = {}

    async def __call__(self, ctx: Context, given: Event, commit: Commit) -> None:
        number = given.json()["n"]
        if self.faults.get(number):
            raise self.faults[number].pop()
        self.contexts.append(ctx)
        self.events.append((given.subject, number))

    async def until(self, number: int) -> Sequence[tuple[str, int]]:
        """What was handled, once that many events were."""

        async def look() -> Sequence[tuple[str, int]]:
            return self.events

        return await eventually(look, lambda found: len(found) >= number)

    def spec(self, **options: Any) -> HandlerSpec:
        """The handler's declaration."""
        whole: dict[str, Any] = {"name": "seen", "types": ("test.*",), "base": 0.02, "maximum": 0.05, **options}
        return HandlerSpec(function=self, **whole)


class EventsSuite:
    """Override the fixture `opens`; each test has a bus and a database of its own."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def opens(self) -> Opens:
        raise NotImplementedError("override the fixture `opens`")

    async def test_a_handler_gets_what_is_published_with_the_rights_of_its_author(self, opens: Opens) -> None:
        seen = Seen()
        author = caller("acme", "ada", "events:publish", "serving:predict").labelled("confidential")
        async with opens(seen.spec(scopes=frozenset({"serving:*"}))) as events:
            await events.publish(author, [event(1)])
            assert await seen.until(1) == [("k", 1)]
        ctx = seen.contexts[0]
        assert (ctx.tenant, ctx.principal, ctx.labels) == ("acme", "ada", author.labels)
        assert ctx.rights == author.rights.narrowed(frozenset({"serving:*"}))
        assert ctx.trace.trace_id == author.trace.trace_id
        assert ctx.deadline is not None

    async def test_the_same_source_and_id_are_handled_once(self, opens: Opens) -> None:
        seen = Seen()
        async with opens(seen.spec()) as events:
            first = event(1)
            await events.publish(caller(), [first, first])
            await seen.until(1)
            await events.publish(caller(), [first])
            await events.publish(caller("other"), [first])
            await events.publish(caller(), [event(2)])
            await seen.until(3)
        assert sorted(seen.events) == [("k", 1), ("k", 1), ("k", 2)]
        assert [ctx.tenant for ctx in seen.contexts].count("other") == 1

    async def test_keys_keep_their_order_through_failures_and_do_not_wait_for_each_other(self, opens: Opens) -> None:
        seen = Seen()
        seen.faults = {3: [RuntimeError("once"), RuntimeError("twice")], 7: [RuntimeError("once")]}
        async with opens(seen.spec()) as events:
            await events.publish(caller(), [event(number, f"k{number % 4}") for number in range(40)])
            await seen.until(40)
            await events.publish(caller(), [event(number, f"k{number % 4}") for number in range(40, 44)])
            await seen.until(44)
        for key in range(4):
            assert [n for name, n in seen.events if name == f"k{key}"] == list(range(key, 44, 4))

    async def test_a_consumer_is_removed_with_what_waits_for_it_and_begins_anew_under_the_same_name(
        self, opens: Opens
    ) -> None:
        seen = Seen()
        async with opens(seen.spec()) as events:
            assert await events.take(caller(), "worker", types=["test.*"]) == []
            await events.publish(caller(), [event(1, "a"), event(2, "b"), event(3, "c")])
            taken = await _taken(events, 3)
            verdicts: tuple[Verdict, ...] = ("done", "dead", "retry")
            outcomes = [
                Outcome(token=each.token, verdict=verdict, after=60.0)
                for each, verdict in zip(taken, verdicts, strict=True)
            ]
            await events.settle(caller(), "worker", outcomes)
            with pytest.raises(NotFound):
                await events.remove(caller("other"), "worker")
            assert await events.remove(caller(), "worker") == 2
            assert [each.name for each in await events.consumers(caller())] == ["seen"]
            assert await events.dead(caller(), consumer="worker") == []
            with pytest.raises(NotFound):
                await events.remove(caller(), "worker")
            with pytest.raises(NotFound):
                await events.settle(caller(), "worker", outcomes)
            with pytest.raises(Conflict, match="handler of the system"):
                await events.remove(caller(), "seen")
            await events.take(caller(), "worker", types=["test.*"])
            done = next(each.event for each, one in zip(taken, outcomes, strict=True) if one.verdict == "done")
            await events.publish(caller(), [done, event(4)])
            # What it had handled is given to no consumer of its name again.
            assert [each.event.json() for each in await _taken(events, 1)] == [{"n": 4}]

    async def test_what_keeps_failing_becomes_a_dead_letter_with_its_history_and_can_be_redriven(
        self, opens: Opens
    ) -> None:
        seen = Seen()
        seen.faults = {1: [RuntimeError(f"fault {number}") for number in range(3)]}
        async with opens(seen.spec(attempts=3)) as events:
            ctx = caller()
            await events.publish(ctx, [event(1), event(2)])
            await seen.until(1)
            [letter] = await eventually(lambda: events.dead(ctx), lambda found: len(found) == 1)
            assert letter.event.json() == {"n": 1}
            assert (letter.consumer, letter.principal, letter.attempts) == ("seen", "ada", 3)
            assert [each.error for each in letter.history] == [f"RuntimeError: fault {n}" for n in (2, 1, 0)]
            assert not await events.dead(caller("other"))
            assert (await events.redrive(ctx, "seen", Selection(types=("nothing.*",)))).number == 0
            assert await events.redrive(ctx, "seen", Selection(ids=(letter.id,))) is not None
            assert await seen.until(2) == [("k", 2), ("k", 1)]
            assert not await events.dead(ctx)

    async def test_data_that_do_not_fit_are_dead_at_once_and_can_be_discarded(self, opens: Opens) -> None:
        async def handle(ctx: Context, given: dict[str, int], commit: Commit) -> None:
            raise AssertionError("this is never called")

        spec = HandlerSpec(name="typed", types=("test.*",), function=handle, data=dict[str, int])
        async with opens(spec) as events:
            ctx = caller()
            await events.publish(ctx, [Event.of("test.made", "/test", {"n": "no number"})])
            [letter] = await eventually(lambda: events.dead(ctx), lambda found: len(found) == 1)
            assert letter.attempts == 1
            assert "do not fit" in letter.error
            assert await events.discard(ctx, "typed", [letter.id, "unknown"]) == 1
            assert not await events.dead(ctx)

    async def test_a_batch_with_a_bad_event_fails_that_one_alone(self, opens: Opens) -> None:
        done: list[int] = []

        async def handle(ctx: Context, given: Sequence[Event], commit: Commit) -> None:
            numbers = [each.json()["n"] for each in given]
            if 5 in numbers:
                raise RuntimeError("five")
            done.extend(numbers)

        spec = HandlerSpec(name="b", types=("test.*",), function=handle, batch=50, attempts=2, base=0.02)
        async with opens(spec) as events:
            ctx = caller()
            await events.publish(ctx, [event(number, f"k{number % 3}") for number in range(30)])
            await eventually(lambda: events.dead(ctx), lambda found: len(found) == 1)
            views = await eventually(
                lambda: events.consumers(ctx), lambda v: not v[0].running and not v[0].behind and not v[0].waiting
            )
            assert views[0].dead == 1
        assert sorted(done) == [number for number in range(30) if number != 5]

    async def test_what_is_replayed_is_handled_once_more(self, opens: Opens) -> None:
        seen = Seen()
        async with opens(seen.spec()) as events:
            ctx = caller()
            await events.publish(ctx, [event(number) for number in range(5)])
            await seen.until(5)
            chosen = Selection(since=datetime.now(UTC) - timedelta(hours=1), subject="k")
            answer = await events.replay(ctx, "seen", chosen, limit=3)
            assert (answer.number, answer.more) == (3, True)
            await seen.until(8)
            assert (await events.replay(ctx, "seen", Selection(subject="other"))).number == 0
        assert sorted(number for _, number in seen.events) == [0, 0, 1, 1, 2, 2, 3, 4]

    async def test_a_paused_consumer_gets_nothing_until_it_is_resumed(self, opens: Opens) -> None:
        seen = Seen()
        async with opens(seen.spec()) as events:
            ctx = caller()
            await events.pause(ctx, "seen")
            await events.publish(ctx, [event(1)])
            [view] = await eventually(lambda: events.consumers(ctx), lambda views: views[0].behind > 0)
            assert view.paused
            assert not seen.events
            await events.resume(ctx, "seen")
            await seen.until(1)
            with pytest.raises(NotFound):
                await events.pause(ctx, "unknown")

    async def test_events_wait_for_their_moment_and_end_with_their_time(self, opens: Opens) -> None:
        seen = Seen()
        async with opens(seen.spec()) as events:
            ctx, now = caller(), datetime.now(UTC)
            [receipt] = await events.publish(ctx, [event(1)], after=now + timedelta(seconds=1))
            assert receipt.state == "scheduled"
            late = (now - timedelta(seconds=1)).isoformat()
            await events.publish(ctx, [event(2, "l", expirytime=late), event(3)])
            assert await seen.until(2) == [("k", 3), ("k", 1)]
            assert datetime.now(UTC) >= now + timedelta(seconds=1)

    async def test_a_full_backlog_refuses_and_tells_when_to_come_again(self, opens: Opens) -> None:
        seen = Seen()
        async with opens(seen.spec(), backlog=10, workers=False) as events:
            ctx = caller()
            await events.publish(ctx, [event(number) for number in range(11)])

            async def refused() -> Throttled | None:
                try:
                    await events.publish(ctx, [event(99)])
                except Throttled as error:
                    return error
                return None

            error = await eventually(refused, lambda found: found is not None)
            assert error is not None
            assert error.retry_after
            await events.publish(ctx, [event(1, kind="nobody.wants.this")])

    async def test_faulty_and_reserved_events_are_refused_and_nothing_of_the_call_is_stored(self, opens: Opens) -> None:
        seen = Seen()
        async with opens(seen.spec()) as events:
            ctx = caller()
            with pytest.raises(InvalidInput) as fault:
                await events.publish(ctx, [event(1), Event(type="", source="/test")])
            assert [each.path for each in fault.value.fields] == ["$[1].type"]
            with pytest.raises(NotAllowed):
                await events.publish(ctx, [event(1), event(2, kind="run.ended")])
            with pytest.raises(PayloadTooLarge):
                await events.publish(ctx, [event(1)] * 1_001)
            await events.publish(ctx, [event(7)])
            assert await seen.until(1) == [("k", 7)]

    async def test_a_taken_event_is_settled_once_and_its_key_waits_for_that(self, opens: Opens) -> None:
        async with opens() as events:
            ctx = caller()
            assert not await events.take(ctx, "puller", types=("test.*",))
            await events.publish(ctx, [event(1), event(2), event(3, "other")])
            await events.publish(caller("other"), [event(9)])
            taken = await events.take(ctx, "puller", wait=30)
            while len(taken) < 2:
                taken = [*taken, *await events.take(ctx, "puller", wait=30)]
            assert sorted(each.event.json()["n"] for each in taken) == [1, 3]
            assert await events.extend(ctx, "puller", [taken[0].token, "unknown"]) == [True, False]
            consequence = event(50, kind="after.that")
            outcomes = [Outcome(token=each.token, verdict="done", publish=(consequence,)) for each in taken[:1]]
            assert [each.result for each in await events.settle(ctx, "puller", outcomes)] == ["done"]
            assert [each.result for each in await events.settle(ctx, "puller", outcomes)] == ["stale"]
            retry = [Outcome(token=each.token, verdict="retry", after=0.0, error="not yet") for each in taken[1:]]
            assert [each.result for each in await events.settle(ctx, "puller", retry)] == ["retry"]
            again: list[tuple[int, int]] = []
            while len(again) < 2:
                found = await events.take(ctx, "puller", wait=30)
                again += [(each.event.json()["n"], each.attempt) for each in found]
                await events.settle(ctx, "puller", [Outcome(token=e.token, verdict="done") for e in found])
            assert {number for number, _ in again} == {2, taken[1].event.json()["n"]} or (2, 1) in again
            assert max(attempt for _, attempt in again) == 2

    async def test_what_is_not_settled_in_time_is_given_out_again(self, opens: Opens) -> None:
        async with opens(delivery_seconds=1.0) as events:
            ctx = caller()
            await events.take(ctx, "slow")
            await events.publish(ctx, [event(1)])
            [first] = await events.take(ctx, "slow", wait=30)
            [second] = await eventually(lambda: events.take(ctx, "slow", wait=1), lambda found: len(found) == 1)
            assert (first.attempt, second.attempt) == (1, 2)
            late = await events.settle(ctx, "slow", [Outcome(token=first.token, verdict="done")])
            assert late[0].result == "stale"
            good = await events.settle(ctx, "slow", [Outcome(token=second.token, verdict="done")])
            assert good[0].result == "done"

    async def test_a_handler_s_name_is_no_consumer_to_take_from(self, opens: Opens) -> None:
        async with opens(Seen().spec()) as events:
            with pytest.raises(Conflict):
                await events.take(caller(), "seen")
            with pytest.raises(NotFound):
                await events.settle(caller(), "unknown", [])

    async def test_followers_see_their_tenant_s_events_and_go_on_where_they_stopped(self, opens: Opens) -> None:
        async with opens() as events:
            ctx = caller()
            start = await events.position(ctx)
            await events.publish(ctx, [event(1), event(2, kind="else"), event(3)])
            await events.publish(caller("other"), [event(4)])
            await events.publish(ctx, [event(5)])
            found = await _follow(events, ctx, start, 3)
            assert [each.event.json()["n"] for each in found] == [1, 3, 5]
            rest = await _follow(events, ctx, found[0].position, 2)
            assert [each.event.json()["n"] for each in rest] == [3, 5]
            with pytest.raises(InvalidInput):
                await events.position(ctx, since="no position")

    async def test_consequences_form_a_tree_under_their_first_event(self, opens: Opens) -> None:
        async def first(ctx: Context, given: Event, commit: Commit) -> Event:
            commit.publish(event(20, kind="second.made"))
            return event(21, kind="second.made")

        seen = Seen()
        one = HandlerSpec(name="first", types=("first.*",), function=first)
        two = seen.spec(name="second", types=("second.*",))
        async with opens(one, two) as events:
            ctx = caller()
            [receipt] = await events.publish(ctx, [event(1, kind="first.made")])
            await seen.until(2)
            hops = await eventually(
                lambda: events.tree(ctx, receipt.id), lambda found: all(each.handled for each in found)
            )
            assert [hop.type for hop in hops] == ["first.made", "second.made", "second.made"]
            assert [hop.cause for hop in hops] == ["", receipt.id, receipt.id]
            assert {part.consumer for hop in hops for part in hop.handled} == {"first", "second"}
            with pytest.raises(NotFound):
                await events.tree(caller("other"), receipt.id)
        assert {ctx.principal for ctx in seen.contexts} == {"ada"}


async def _follow(events: Events, ctx: Context, since: str, number: int) -> list[Delivered]:
    found: list[Delivered] = []
    async with asyncio.timeout(PATIENCE):
        # What `follow` gives is a generator: leaving it early must end it at once.
        items = cast("AsyncGenerator[Delivered, None]", events.follow(ctx, types=("test.*",), since=since))
        async with aclosing(items) as stream:
            async for delivered in stream:
                found.append(delivered)
                if len(found) == number:
                    break
    return found


async def _taken(events: Events, number: int) -> list[Delivery]:
    """So many deliveries for the consumer `worker`, in the order of their coming."""
    found: list[Delivery] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < number:
            found += await events.take(caller(), "worker", wait=1.0)
    return found
