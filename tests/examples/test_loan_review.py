"""The loan example: what the card decides, what people do, and the commands on its folder."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "loan_review"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    import try_it  # type: ignore[import-not-found]  # of the example's folder

    yield try_it
    for name in ("try_it", "applications"):
        sys.modules.pop(name, None)


async def test_every_run_ends_and_what_people_decided_is_the_data_set(
    example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "NUMBER", 40)
    found = await example.main()
    card, people = found["decided by the card"], found["decided by people"]
    assert card + people == found["applications"] == 40 and card > 0 and people > 0
    assert sum(found["verdicts"].values()) == people
    assert found["data set"].startswith(f"version 1, {people} rows, ")


def test_the_card_adds_up(example: Any) -> None:
    import applications  # type: ignore[import-not-found]  # of the example's folder

    one = next(applications.applications(7, 1))
    assert one == next(applications.applications(7, 1))
    parts = applications.contributions(one)
    assert 0 < applications.probability(one) < 1 and set(parts) == set(applications.WEIGHTS)


def test_a_case_is_decided_at_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stanchion.app.commands import office
    from stanchion.app.commands.reviews import Verdicts, decided, exported, figures, listed, shown
    from stanchion.review import Draft, Reviews

    file, data = tmp_path / "system.py", tmp_path / "data"
    file.write_text('from stanchion import System\n\napp = System("x")\napp.review("q", similar=0)\n')

    async def opened() -> None:
        options = office.Options(data=data)
        async with office.opened(options, file=file, only=("events", "review")) as house:
            ctx = office.operator("default")
            other = type(ctx)(ctx.tenant, "key:other", ctx.rights)
            await house.door(Reviews).open(other, [Draft("q", {"n": 1}, {"m": 1}, title="One")])

    asyncio.run(opened())

    def told() -> Any:
        return json.loads(capsys.readouterr().out)

    assert listed("q", [], 10, data=data, json=True) == 0
    [item] = told()
    assert shown(file, item["id"], data=data, json=True) == 0
    case = told()
    said = Verdicts("edit", "0" * 64, "", "", '{"m": 2}')
    assert decided(file, item["id"], said, data=data, json=True) == 1
    assert "is not as it was shown" in capsys.readouterr().err
    assert decided(file, item["id"], said._replace(verdict="maybe"), data=data, json=True) == 2
    capsys.readouterr()
    assert decided(file, item["id"], said._replace(digest=case["digest"]), data=data, json=True) == 0
    assert told()["status"] == "decided"
    assert figures(file, "q", data=data, json=True) == 0
    assert told()["verdicts"] == {"edit": 1}
    output = tmp_path / "decisions.jsonl"
    assert exported(file, "q", 0, output, data=data, json=True) == 0
    assert told()["rows"] == 1 and json.loads(output.read_text())["label"] == {"m": 2}
    assert exported(file, "q", 7, output, data=data, json=True) == 2
    assert not output.with_name("decisions.jsonl.part").exists()
    capsys.readouterr()
    for shows in (
        lambda: listed("", ["decided"], 10, data=data, json=False),
        lambda: shown(file, item["id"], data=data, json=False),
        lambda: figures(file, "q", data=data, json=False),
    ):
        assert shows() == 0
        assert capsys.readouterr().out.strip()
