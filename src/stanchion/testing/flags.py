"""The contract of Flags as tests: subclass `FlagsSuite` and give it a door.

The door must hold no flag of the tenants `t1` and `t2` and permit the role `admin` all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, InvalidInput, NotFound
from stanchion.core.flags import Condition, Evaluation, Flag, Flags, Prerequisite, Rule
from stanchion.core.values import Json

ADA = Context("t1", "ada", Rights(frozenset({"admin"})))
STRANGER = Context("t2", "eve", Rights(frozenset({"admin"})))
VARIANTS: dict[str, Json] = {"on": True, "off": False}
PLAIN = Flag(key="plain", variants=VARIANTS, default="off")
RICH = Flag(
    key="rich",
    variants={"text": "a", "number": 1.5, "list": [1, None, {"deep": [True]}], "none": None},
    default="text",
    off="none",
    rules=(
        Rule(when=(Condition(attribute="plan", op="in", value=("pro", "team")),), serve="number"),
        Rule(when=(Condition(attribute="seats", op="equals", value=3),), split={"list": 100.0}),
    ),
    prerequisites=(Prerequisite(key="plain", variants=("on", "off")),),
    salt="grain",
)


class FlagsSuite:
    """Override the fixture `flags`."""

    @pytest.fixture
    def flags(self) -> Flags:
        raise NotImplementedError("override the fixture `flags`")

    async def one(self, flags: Flags, key: str, ctx: Context = ADA, **attributes: Json) -> Evaluation:
        """The evaluation of one flag."""
        [found] = await flags.evaluate(ctx, [key], attributes)
        return found

    async def test_an_unknown_flag_is_an_error_and_never_raised(self, flags: Flags) -> None:
        assert await self.one(flags, "nobody") == Evaluation("nobody", None, None, "ERROR", "FLAG_NOT_FOUND")

    async def test_a_stored_flag_comes_back_as_it_was_given(self, flags: Flags) -> None:
        plain = await flags.set(ADA, "plain", PLAIN)
        rich = await flags.set(ADA, "rich", RICH)
        assert (plain, rich) == (replace(PLAIN, version=1), replace(RICH, version=1))
        assert list(await flags.list(ADA)) == [plain, rich]

    async def test_flags_are_evaluated_in_the_order_asked_for(self, flags: Flags) -> None:
        await flags.set(ADA, "plain", PLAIN)
        await flags.set(ADA, "rich", RICH)
        found = await flags.evaluate(ADA, ["rich", "nobody", "plain", "rich"])
        assert [(each.key, each.value) for each in found] == [
            ("rich", "a"),
            ("nobody", None),
            ("plain", False),
            ("rich", "a"),
        ]

    async def test_the_first_rule_that_holds_decides(self, flags: Flags) -> None:
        await flags.set(ADA, "plain", PLAIN)
        await flags.set(ADA, "rich", RICH)
        by_plan = await self.one(flags, "rich", plan="team", seats=3)
        assert (by_plan.value, by_plan.variant, by_plan.reason) == (1.5, "number", "TARGETING_MATCH")
        by_seats = await self.one(flags, "rich", plan="free", seats=3)
        assert (by_seats.value, by_seats.reason) == ([1, None, {"deep": [True]}], "SPLIT")
        assert (await self.one(flags, "rich", seats=True)).reason == "DEFAULT"

    async def test_a_split_gives_each_unit_its_own_share_for_good(self, flags: Flags) -> None:
        await flags.set(ADA, "plain", replace(PLAIN, split={"on": 25.0, "off": 75.0}))
        first = [(await self.one(flags, "plain", targeting_key=f"u{number}")).variant for number in range(60)]
        again = [(await self.one(flags, "plain", targeting_key=f"u{number}")).variant for number in range(10)]
        assert first[:10] == again
        assert 5 <= Counter(first)["on"] <= 25

    async def test_the_caller_is_the_unit_unless_another_is_named(self, flags: Flags) -> None:
        await flags.set(ADA, "plain", replace(PLAIN, split={"on": 50.0, "off": 50.0}))
        own = await self.one(flags, "plain")
        assert own.variant == (await self.one(flags, "plain", targeting_key="ada")).variant
        assert (await self.one(flags, "plain", targeting_key="")).error == "TARGETING_KEY_MISSING"

    async def test_a_change_made_from_an_old_version_conflicts(self, flags: Flags) -> None:
        stored = await flags.set(ADA, "plain", PLAIN)
        with pytest.raises(Conflict):
            await flags.set(ADA, "plain", PLAIN)
        assert (await flags.set(ADA, "plain", replace(stored, default="on"))).version == 2
        assert (await self.one(flags, "plain")).value is True

    async def test_a_killed_flag_serves_off_until_it_is_switched_on_again(self, flags: Flags) -> None:
        await flags.set(ADA, "plain", replace(PLAIN, default="on", off="off"))
        killed = await flags.kill(ADA, "plain", True)
        assert (killed.killed, killed.version) == (True, 2)
        found = await self.one(flags, "plain")
        assert (found.value, found.reason, found.version) == (False, "DISABLED", 2)
        await flags.kill(ADA, "plain", False)
        assert (await self.one(flags, "plain")).value is True

    async def test_a_flag_that_makes_no_sense_is_refused(self, flags: Flags) -> None:
        for wrong in (
            replace(PLAIN, default="maybe"),
            replace(PLAIN, variants={}),
            replace(PLAIN, split={"on": -1.0}),
            replace(PLAIN, prerequisites=(Prerequisite(key="nobody", variants=("on",)),)),
            replace(PLAIN, prerequisites=(Prerequisite(key="plain", variants=("on",)),)),
        ):
            with pytest.raises(InvalidInput):
                await flags.set(ADA, "plain", wrong)
        with pytest.raises(InvalidInput):
            await flags.set(ADA, "other", PLAIN)
        assert list(await flags.list(ADA)) == []

    async def test_an_unknown_flag_cannot_be_killed(self, flags: Flags) -> None:
        with pytest.raises(NotFound):
            await flags.kill(ADA, "nobody", True)

    async def test_tenants_do_not_share_flags(self, flags: Flags) -> None:
        await flags.set(ADA, "plain", PLAIN)
        assert list(await flags.list(STRANGER)) == []
        assert (await self.one(flags, "plain", STRANGER)).error == "FLAG_NOT_FOUND"
        assert (await flags.set(STRANGER, "plain", replace(PLAIN, default="on"))).version == 1
        assert (await self.one(flags, "plain")).value is False
