"""The contract of Database as tests: subclass `DatabaseSuite` and tell it how to open one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from threading import Event
from typing import ClassVar, NoReturn, Protocol

import pytest
import pytest_asyncio
import sqlalchemy as sa
from alembic.operations import Operations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from stanchion.core.context import Effect
from stanchion.core.errors import Misconfigured, StanchionError, Unavailable
from stanchion.core.storage import Database, Journal, Schema

from .notes import CTX, METADATA, NOTE, NOTES, TableJournal, add, add_then_raise, effect, events, grown, numbers

# One test for many subclasses, whose tables are emptied before each example.
_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]


class Opens(Protocol):
    """Opens the database of this test; every call the same one, as another process would."""

    def __call__(self, journal: Journal | None = None) -> Database: ...


class DatabaseSuite:
    """Override the fixture `opens`.

    `shared` is False where a second opening does not see the first one's data; `parallel` is False where a read
    and a write wait for each other.
    """

    pytestmark = pytest.mark.asyncio
    shared: ClassVar[bool] = True
    parallel: ClassVar[bool] = True

    @pytest.fixture
    def opens(self) -> Opens:
        raise NotImplementedError("override the fixture `opens`")

    @pytest_asyncio.fixture
    async def database(self, opens: Opens) -> AsyncIterator[Database]:
        database = opens()
        await database.prepare(NOTES)
        yield database
        await database.close()

    @pytest.fixture
    def journal(self) -> TableJournal:
        return TableJournal()

    @pytest_asyncio.fixture
    async def audited(self, opens: Opens, journal: TableJournal) -> AsyncIterator[Database]:
        database = opens(journal)
        await database.prepare(NOTES)
        yield database
        await database.close()

    # Writing and reading

    async def test_a_write_returns_what_its_work_returns_and_is_seen_after(self, database: Database) -> None:
        assert await database.write(CTX, add(1)) == 1
        assert await database.read(numbers) == [1]

    async def test_a_work_that_raises_leaves_nothing_and_its_neighbours_stay(self, database: Database) -> None:
        works = [add(n) if n % 3 else add_then_raise(n, ValueError(n)) for n in range(60)]
        outcomes = await asyncio.gather(*(database.write(CTX, work) for work in works), return_exceptions=True)
        assert [str(o) for o in outcomes if isinstance(o, ValueError)] == [str(n) for n in range(0, 60, 3)]
        assert await database.read(numbers) == [n for n in range(60) if n % 3]

    async def test_the_exception_of_a_work_reaches_its_caller_unchanged(self, database: Database) -> None:
        mine = KeyError("mine")
        with pytest.raises(KeyError) as caught:
            await database.write(CTX, add_then_raise(1, mine))
        assert caught.value is mine

    @pytest.mark.parametrize("error", [StopIteration(), SystemExit(3), asyncio.CancelledError(), GeneratorExit()])
    async def test_no_exception_of_a_work_stops_the_writer(self, database: Database, error: BaseException) -> None:
        with pytest.raises(BaseException):  # noqa: B017  # whichever it is: the next write is what counts
            await database.write(CTX, add_then_raise(1, error))
        assert await database.write(CTX, add(2)) == 2
        assert await database.read(numbers) == [2]

    async def test_a_broken_constraint_fails_one_write_alone(self, database: Database) -> None:
        outcomes = await asyncio.gather(*(database.write(CTX, add(n)) for n in (1, 1, 2)), return_exceptions=True)
        assert outcomes[::2] == [1, 2]
        assert isinstance(outcomes[1], sa.exc.IntegrityError)
        assert await database.read(numbers) == [1, 2]

    async def test_an_error_tells_no_values(self, database: Database) -> None:
        with pytest.raises(sa.exc.DBAPIError) as caught:
            await database.write(CTX, lambda c: c.execute(sa.text("INSERT INTO nothing VALUES (:v)"), {"v": "secret"}))
        assert "secret" not in str(caught.value)

    async def test_writes_are_applied_in_the_order_asked(self, database: Database) -> None:
        def next_number(connection: Connection) -> int:
            count = connection.execute(sa.select(sa.func.count()).select_from(NOTE)).scalar_one()
            return add(count)(connection)

        assert await asyncio.gather(*(database.write(CTX, next_number) for _ in range(300))) == list(range(300))

    async def test_a_work_may_use_savepoints_of_its_own(self, database: Database) -> None:
        def work(connection: Connection) -> None:
            add(1)(connection)
            with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
                add(1)(connection)
            with connection.begin_nested():
                add(2)(connection)

        await database.write(CTX, work)
        assert await database.read(numbers) == [1, 2]

    @pytest.mark.parametrize("ending", ["commit", "rollback", "begin_nested"])
    async def test_a_work_must_leave_the_transaction_as_it_was(self, database: Database, ending: str) -> None:
        def work(connection: Connection) -> None:
            add(1)(connection)
            getattr(connection, ending)()

        with pytest.raises(StanchionError):
            await database.write(CTX, work)
        assert await database.read(numbers) == []
        assert await database.write(CTX, add(2)) == 2

    async def test_a_read_must_not_write(self, database: Database) -> None:
        with pytest.raises(StanchionError, match="read tried to change"):
            await database.read(add(1))
        await database.write(CTX, add(2))
        assert await database.read(numbers) == [2]

    async def test_the_exception_of_a_read_reaches_its_caller_unchanged(self, database: Database) -> None:
        def work(connection: Connection) -> NoReturn:
            numbers(connection)
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await database.read(work)
        assert await database.read(numbers) == []

    async def test_a_read_sees_one_snapshot(self, database: Database) -> None:
        if not self.parallel:
            pytest.skip("reads and writes of this engine wait for each other")
        looked, written = Event(), Event()

        def look_twice(connection: Connection) -> tuple[list[int], list[int]]:
            before = numbers(connection)
            looked.set()
            assert written.wait(30)
            return before, numbers(connection)

        reading = asyncio.create_task(database.read(look_twice))
        await asyncio.to_thread(looked.wait, 30)
        await database.write(CTX, add(1))
        written.set()
        assert await reading == ([], [])
        assert await database.read(numbers) == [1]

    async def test_a_read_sees_whole_writes_only(self, database: Database) -> None:
        def pair(number: int) -> Callable[[Connection], None]:
            def work(connection: Connection) -> None:
                add(2 * number)(connection)
                add(2 * number + 1)(connection)

            return work

        async def look() -> list[int]:
            return [len(await database.read(numbers)) for _ in range(20)]

        looking = asyncio.create_task(look())
        await asyncio.gather(*(database.write(CTX, pair(n)) for n in range(100)))
        assert all(count % 2 == 0 for count in await looking)

    @settings(max_examples=20, deadline=None, suppress_health_check=_SHARED)
    @given(plan=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["keep", "raise"])), max_size=30))
    async def test_what_succeeded_is_there_and_nothing_else(
        self, database: Database, plan: list[tuple[int, str]]
    ) -> None:
        await database.write(CTX, lambda c: c.execute(sa.delete(NOTE)) and None)
        model: list[int] = []
        for number, fate in plan:
            if fate == "keep" and number not in model:
                model.append(number)
        works = [add(number) if fate == "keep" else add_then_raise(number, ValueError()) for number, fate in plan]
        outcomes = await asyncio.gather(*(database.write(CTX, work) for work in works), return_exceptions=True)
        assert [outcome for outcome in outcomes if isinstance(outcome, int)] == model
        assert await database.read(numbers) == sorted(model)

    # The journal

    async def test_an_effect_is_recorded_with_its_change(self, audited: Database, journal: TableJournal) -> None:
        effects = [effect(f"note/{n}") for n in range(20)]
        works = [add(n) if n % 4 else add_then_raise(n, ValueError(n)) for n in range(20)]
        await asyncio.gather(
            *(audited.write(CTX.within(e), w) for e, w in zip(effects, works, strict=True)), return_exceptions=True
        )
        stored = [n for n in range(20) if n % 4]
        assert await audited.read(numbers) == stored
        assert await audited.read(events) == [f"note/{n}" for n in stored]
        assert [e.recorded for e in effects] == [1 if n % 4 else 0 for n in range(20)]
        await audited.close()  # callers are answered before the journal hears of the commit
        assert journal.commits >= 1

    async def test_a_write_without_an_effect_is_not_recorded(self, audited: Database, journal: TableJournal) -> None:
        await audited.write(CTX, add(1))
        assert await audited.read(events) == []
        await audited.close()  # callers are answered before the journal hears of the commit
        assert journal.commits == 0

    async def test_facts_noted_by_the_work_reach_the_journal(self, opens: Opens) -> None:
        class Facts(TableJournal):
            def record(self, connection: Connection, effects: Sequence[Effect]) -> None:
                told.extend(dict(effect.facts) for effect in effects)

        told: list[dict[str, object]] = []
        database, mine = opens(Facts()), effect("note/1")
        await database.write(CTX.within(mine), lambda _: mine.note(version="1.0.0"))
        await database.close()
        assert told == [{"version": "1.0.0"}]

    async def test_no_change_is_stored_if_the_journal_fails(self, audited: Database, journal: TableJournal) -> None:
        journal.failure = OSError("the audit disk is full")
        effects = [effect("note/1"), effect("note/2")]
        outcomes = await asyncio.gather(
            *(audited.write(CTX.within(e), add(n)) for n, e in enumerate(effects)), return_exceptions=True
        )
        for outcome in outcomes:
            assert isinstance(outcome, Unavailable)
            assert outcome.__cause__ is journal.failure
        assert outcomes[0] is not outcomes[1]
        assert [e.recorded for e in effects] == [0, 0]
        journal.failure = None
        assert await audited.read(numbers) == []
        assert await audited.read(events) == []
        await audited.write(CTX.within(effects[0]), add(3))
        assert await audited.read(events) == ["note/1"]
        await audited.close()  # callers are answered before the journal hears of the commit
        assert journal.commits == 1

    async def test_a_journal_that_fails_after_the_commit_undoes_nothing(self, opens: Opens) -> None:
        class Late(TableJournal):
            def committed(self) -> None:
                raise OSError("no checkpoint")

        database, mine = opens(Late()), effect("note/1")
        await database.prepare(NOTES)
        assert await database.write(CTX.within(mine), add(1)) == 1
        assert mine.recorded == 1
        assert await database.write(CTX, add(2)) == 2
        await database.close()

    async def test_without_a_journal_nothing_counts_as_recorded(self, database: Database) -> None:
        mine = effect("note/1")
        await database.write(CTX.within(mine), add(1))
        assert mine.recorded == 0

    # Ends

    async def test_a_cancelled_caller_does_not_stop_the_write(self, database: Database) -> None:
        begun, may_end = Event(), Event()

        def slow(connection: Connection) -> int:
            begun.set()
            assert may_end.wait(30)
            return add(1)(connection)

        writing = asyncio.create_task(database.write(CTX, slow))
        await asyncio.to_thread(begun.wait, 30)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        may_end.set()
        await database.write(CTX, add(2))
        assert await database.read(numbers) == [1, 2]

    async def test_close_finishes_the_writes_asked_for_and_then_refuses(self, opens: Opens) -> None:
        database = opens()
        await database.prepare(NOTES)
        writing = [asyncio.create_task(database.write(CTX, add(n))) for n in range(300)]
        await asyncio.sleep(0)
        await database.close()
        assert await asyncio.gather(*writing) == list(range(300))
        await database.close()
        with pytest.raises(Unavailable):
            await database.write(CTX, add(1_000))
        with pytest.raises(Unavailable):
            await database.read(numbers)
        with pytest.raises(Unavailable):
            await database.prepare(NOTES)

    async def test_what_was_written_is_there_when_opened_again(self, opens: Opens) -> None:
        self._needs_sharing()
        for number in range(3):
            database = opens()
            await database.prepare(NOTES)
            await database.write(CTX, add(number))
            await database.close()
        database = opens()
        assert await database.read(numbers) == [0, 1, 2]
        await database.close()

    async def test_two_openings_may_write_at_once(self, opens: Opens, database: Database) -> None:
        self._needs_sharing()
        other = opens()
        works = [(database if n % 2 else other).write(CTX, add(n)) for n in range(200)]
        assert await asyncio.gather(*works) == list(range(200))
        assert await database.read(numbers) == await other.read(numbers) == list(range(200))
        await other.close()

    # Tables

    async def test_preparing_again_keeps_what_is_there(self, database: Database) -> None:
        await database.write(CTX, add(1))
        await database.prepare(NOTES)
        assert await database.read(numbers) == [1]

    async def test_missing_steps_are_run_in_order(self, database: Database) -> None:
        await database.write(CTX, add(1, "old"))
        await database.prepare(grown())
        table = grown().metadata.tables["note"]
        await database.write(CTX, lambda c: c.execute(sa.insert(table).values(tenant="acme", id=2, stars=5)) and None)
        rows = await database.read(lambda c: [tuple(row) for row in c.execute(sa.select(table).order_by(table.c.id))])
        assert rows == [("acme", 1, "OLD", 3), ("acme", 2, None, 5)]
        await database.prepare(grown())

    async def test_tables_made_anew_are_the_newest(self, opens: Opens) -> None:
        database = opens()
        await database.prepare(grown())
        table = grown().metadata.tables["note"]
        assert await database.read(lambda c: c.execute(sa.select(table)).all()) == []
        await database.prepare(grown())
        await database.close()

    async def test_an_older_program_refuses_newer_tables(self, database: Database) -> None:
        await database.prepare(grown())
        with pytest.raises(Misconfigured, match="newer"):
            await database.prepare(NOTES)

    async def test_a_failing_step_changes_nothing(self, database: Database) -> None:
        def broken(operations: Operations) -> None:
            operations.add_column("note", sa.Column("stars", sa.Integer))
            operations.execute("this is not SQL")

        await database.write(CTX, add(1))
        with pytest.raises(Misconfigured, match="notes"):
            await database.prepare(Schema("notes", METADATA, (broken,)))
        with pytest.raises(sa.exc.DBAPIError):
            await database.read(lambda c: c.execute(sa.text("SELECT stars FROM note")).all())
        await database.prepare(grown())

    async def test_two_openings_may_prepare_at_once(self, opens: Opens) -> None:
        self._needs_sharing()
        several = [opens() for _ in range(4)]
        await asyncio.gather(*(database.prepare(NOTES) for database in several))
        await several[0].write(CTX, add(1))
        await asyncio.gather(*(database.prepare(grown()) for database in several))
        assert await several[3].read(numbers) == [1]
        await asyncio.gather(*(database.close() for database in several))

    def _needs_sharing(self) -> None:
        if not self.shared:
            pytest.skip("each opening of this engine is a database of its own")
