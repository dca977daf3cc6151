"""`stanchion reviews erase`: an item goes for good, once somebody has said yes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stanchion.app.cli import app
from stanchion.app.commands.office import Options, opened, operator
from stanchion.core.context import Context
from stanchion.core.security.contract import Audit
from stanchion.review import Draft, Item, Reviews
from stanchion.testing.review_cases import decided

SYSTEM = 'from stanchion import System\n\napp = System("desk")\napp.review("loans")\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "system.py").write_text(SYSTEM)
    return tmp_path


def at(place: Path, work: Any, file: str | None = "system.py") -> Any:
    async def whole() -> Any:
        options = Options(data=place / "data")
        async with opened(options, file=place / file if file else None, only=("events", "review")) as house:
            return await work(house, operator(house.settings.tenant))

    return asyncio.run(whole())


def ended(place: Path, count: int) -> list[Item]:
    """Items that were opened and decided one after the other, so that each later one shows those before it."""

    async def work(house: Any, ctx: Context) -> list[Item]:
        reviews = house.door(Reviews)
        author = Context(ctx.tenant, "key:author", ctx.rights)
        found = []
        for number in range(count):
            [each] = await reviews.open(author, [Draft("loans", {"name": "Ada"}, {"grant": number})])
            await decided(reviews, ctx, each.item)
            found.append(each.item)
        return found

    made: list[Item] = at(place, work)
    return made


def erase(place: Path, item: str, *more: str, says: str = "") -> Result:
    asked = ["reviews", "erase", str(place / "system.py"), item, "--data", str(place / "data"), *more]
    return CliRunner().invoke(app, asked, input=says)


def test_an_item_is_erased_once_somebody_has_said_yes(place: Path) -> None:
    first, second, _ = ended(place, 3)
    for says in ("", "n\n"):
        refused = erase(place, first.id, says=says)
        assert refused.exit_code == 1 and "is erased" not in refused.stdout
        assert f"Erase {first.id} for good?" in refused.stderr
    done = erase(place, first.id, "--reason", "request 7", says="y\n")
    assert done.exit_code == 0 and f"{first.id} is erased, and its copies in 2 other items\n" in done.stdout
    done = erase(place, second.id, "--yes", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"item": second.id, "copies": 1})
    assert erase(place, first.id, "--yes").exit_code == 2

    async def told(house: Any, ctx: Context) -> Any:
        events = await house.door(Audit).events(ctx)
        return [each.facts for each in events if each.action == "review:erase" and each.outcome == "done"]

    facts = at(place, told)
    assert {each["erased"]: each["reason"] for each in facts} == {first.id: "request 7", second.id: ""}


@pytest.mark.parametrize(("file", "passes"), [("system.py", True), (None, False)])
def test_time_passes_only_where_the_rules_of_queues_are_known(place: Path, file: str | None, passes: bool) -> None:
    async def clocks(house: Any, ctx: Context) -> int:
        await house.start()
        await house.door(Reviews).items(ctx)
        return sum(task.get_name() == "review-clock" for task in asyncio.all_tasks())

    assert at(place, clocks, file) == passes
