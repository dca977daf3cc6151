"""The contract of Registry as tests: subclass `RegistrySuite` and give it a door.

The door must be outside development mode, hold no model of the tenants `t1` and `t2`, and permit the role `admin` all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from stanchion.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from stanchion.registry import ModelVersion, Registry, Stage
from stanchion.testing.registry_cases import ADA, BOB, FILES, STRANGER, draft, first_changes, promoted, sha


class RegistrySuite:
    """Override the async fixture `registry`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def registry(self) -> Registry:
        raise NotImplementedError("override the fixture `registry`")

    async def registered(self, registry: Registry, **changed: str) -> ModelVersion:
        """Register the usual draft, with other `weights`, `field`, `note` and so on."""
        return await registry.register(ADA, draft(**changed), FILES)

    async def test_a_registered_version_is_the_draft_with_its_origin(self, registry: Registry) -> None:
        given = draft()
        made = await registry.register(ADA, given, FILES)
        assert (made.version, made.stage, made.created_by, made.aliases) == ("1.0.0", "dev", "ada", ())
        assert (made.input_schema, made.metrics, made.card) == (given.input_schema, given.metrics, given.card)
        assert (made.parameters, made.metadata, made.lineage) == (given.parameters, given.metadata, given.lineage)
        assert [(f.name, f.size) for f in made.files] == [("bands.json", 2), ("model.onnx", 15)]
        assert made == await registry.resolve(ADA, "churn")

    async def test_numbers_follow_semantic_versioning(self, registry: Registry) -> None:
        await self.registered(registry)
        packaged = await self.registered(registry, note="smaller")
        trained = await self.registered(registry, weights="w2")
        changed = await self.registered(registry, weights="w3", field="months")
        assert [v.version for v in (packaged, trained, changed)] == ["1.0.1", "1.1.0", "2.0.0"]

    async def test_titles_and_descriptions_do_not_make_another_interface(self, registry: Registry) -> None:
        await self.registered(registry)
        assert (await self.registered(registry, title="Months as a customer")).version == "1.0.1"

    async def test_a_field_called_title_is_a_field(self, registry: Registry) -> None:
        await self.registered(registry)
        assert (await self.registered(registry, field="title")).version == "2.0.0"

    async def test_the_same_package_again_is_the_same_version(self, registry: Registry) -> None:
        first = await self.registered(registry)
        await self.registered(registry, weights="w2")
        again = await registry.register(BOB, draft(parent="1.0.0"), FILES)
        assert again == first
        assert len(await registry.versions(ADA, "churn")) == 2

    async def test_other_files_are_another_package(self, registry: Registry) -> None:
        await self.registered(registry)
        other = await registry.register(ADA, draft(), {**FILES, "bands.json": b"[]"})
        assert other.version == "1.0.1"

    async def test_registrations_at_the_same_time_get_numbers_of_their_own(self, registry: Registry) -> None:
        made = await asyncio.gather(*(self.registered(registry, weights=f"w{i}") for i in range(8)))
        assert sorted(v.version for v in made) == [f"1.{i}.0" for i in range(8)]

    async def test_a_draft_with_an_unusable_name_or_package_is_refused(self, registry: Registry) -> None:
        for name in ("no spaces", "", "a@b", "x" * 129, "-a"):
            with pytest.raises(InvalidInput):
                await registry.register(ADA, draft(name), FILES)
        for files in ({}, {"../up": b""}, {".hidden": b""}, {f"f{i}": b"" for i in range(101)}):
            with pytest.raises(InvalidInput):
                await registry.register(ADA, draft(), files)
        assert await registry.models(ADA) == []

    async def test_files_come_back_whole(self, registry: Registry) -> None:
        large = bytes(range(256)) * 10_000
        made = await registry.register(ADA, draft(), {"large.bin": large, "empty": b""})
        pieces = [piece async for piece in registry.artifact(BOB, "churn", made.version, "large.bin")]
        assert b"".join(pieces) == large
        assert max(len(piece) for piece in pieces) <= 1 << 20
        assert [p async for p in registry.artifact(BOB, "churn", made.version, "empty")] == []

    async def test_an_unknown_file_or_version_is_not_found(self, registry: Registry) -> None:
        await self.registered(registry)
        for version, file in (("1.0.0", "nothing"), ("9.9.9", "model.onnx")):
            with pytest.raises(NotFound):
                [piece async for piece in registry.artifact(ADA, "churn", version, file)]

    async def test_a_bare_name_is_the_newest_until_one_is_in_production(self, registry: Registry) -> None:
        await self.registered(registry)
        await self.registered(registry, weights="w2")
        assert (await registry.resolve(ADA, "churn")).version == "1.1.0"
        await promoted(registry, "1.0.0", "staging", "production")
        assert (await registry.resolve(ADA, "churn")).version == "1.0.0"
        assert (await registry.resolve(ADA, "churn@latest")).version == "1.1.0"
        assert (await registry.resolve(ADA, "churn@production")).version == "1.0.0"
        assert (await registry.resolve(ADA, "churn@1.1.0")).version == "1.1.0"

    async def test_an_archived_version_answers_only_to_its_number(self, registry: Registry) -> None:
        await self.registered(registry)
        await self.registered(registry, weights="w2")
        await promoted(registry, "1.1.0", "archived")
        assert (await registry.resolve(ADA, "churn")).version == "1.0.0"
        assert (await registry.resolve(ADA, "churn@latest")).version == "1.0.0"
        assert (await registry.resolve(ADA, "churn@1.1.0")).stage == "archived"

    async def test_what_does_not_exist_is_not_found(self, registry: Registry) -> None:
        await self.registered(registry)
        for reference in ("churn@1.0.1", "churn@production", "churn@staging", "churn@mine", "other"):
            with pytest.raises(NotFound):
                await registry.resolve(ADA, reference)

    async def test_a_reference_that_is_none_is_invalid(self, registry: Registry) -> None:
        for reference in ("", "@", "churn@", "churn@1.0", "churn@01.0.0", "churn@a@b", "churn@-", "é"):
            with pytest.raises(InvalidInput):
                await registry.resolve(ADA, reference)

    async def test_another_tenants_models_are_unknown(self, registry: Registry) -> None:
        await self.registered(registry)
        assert await registry.models(STRANGER) == []
        assert await registry.promotions(STRANGER, "churn") == []
        with pytest.raises(NotFound):
            await registry.resolve(STRANGER, "churn@1.0.0")
        with pytest.raises(NotFound):
            await registry.promote(STRANGER, "churn", "1.0.0", to="staging")
        with pytest.raises(NotFound):
            [piece async for piece in registry.artifact(STRANGER, "churn", "1.0.0", "model.onnx")]
        other = await registry.register(STRANGER, draft(weights="theirs"), FILES)
        assert other.version == "1.0.0"
        assert (await registry.resolve(ADA, "churn")).weights_sha256 == sha("w1")

    async def test_models_are_listed_by_name_in_pages(self, registry: Registry) -> None:
        for name in ("b", "a", "Z", "a.b", "a_b"):
            await self.registered(registry, model=name)
        found = await registry.models(ADA, limit=3)
        rest = await registry.models(ADA, after=found[-1].model)
        assert [m.model for m in found] + [m.model for m in rest] == ["Z", "a", "a.b", "a_b", "b"]

    async def test_a_summary_tells_newest_and_production(self, registry: Registry) -> None:
        await self.registered(registry)
        await self.registered(registry, weights="w2")
        await promoted(registry, "1.0.0", "staging", "production")
        [summary] = await registry.models(ADA)
        assert (summary.versions, summary.latest, summary.production) == (2, "1.1.0", "1.0.0")

    async def test_versions_are_listed_newest_first(self, registry: Registry) -> None:
        for i in range(11):
            await self.registered(registry, weights=f"w{i}")
        found = await registry.versions(ADA, "churn", limit=3)
        assert [v.version for v in found] == ["1.10.0", "1.9.0", "1.8.0"]
        with pytest.raises(NotFound):
            await registry.versions(ADA, "other")

    async def test_production_needs_evidence_and_a_second_person(self, registry: Registry) -> None:
        await self.registered(registry)
        await promoted(registry, "1.0.0", "staging")
        with pytest.raises(InvalidInput):
            await registry.promote(ADA, "churn", "1.0.0", to="production", evidence=" \n")
        asked = await registry.promote(ADA, "churn", "1.0.0", to="production", evidence="better by .03")
        assert (asked.status, asked.requested_by, asked.decided_by) == ("pending", "ada", None)
        assert (await registry.resolve(ADA, "churn")).stage == "staging"
        with pytest.raises(NotAllowed):
            await registry.promote(ADA, "churn", "1.0.0", to="production", evidence="I insist")
        done = await registry.promote(BOB, "churn", "1.0.0", to="production", evidence="seen it")
        assert (done.id, done.status, done.requested_by, done.decided_by) == (asked.id, "done", "ada", "bob")
        assert done.evidence == "better by .03\n\nseen it"
        assert (await registry.resolve(ADA, "churn")).stage == "production"

    async def test_the_former_production_version_goes_back_to_staging(self, registry: Registry) -> None:
        for weights in ("w1", "w2"):
            await promoted(registry, (await self.registered(registry, weights=weights)).version, "staging")
        await promoted(registry, "1.0.0", "production")
        await promoted(registry, "1.1.0", "production")
        assert [v.stage for v in await registry.versions(ADA, "churn")] == ["production", "staging"]
        assert (await registry.promotions(ADA, "churn"))[0].replaces == "1.0.0"

    async def test_a_step_that_is_none_conflicts(self, registry: Registry) -> None:
        steps: Sequence[tuple[Sequence[Stage], Sequence[Stage]]] = [
            ((), ("dev", "production")),
            (("staging",), ("staging",)),
            (("staging", "production"), ("dev", "staging", "production", "archived")),
            (("archived",), ("staging", "production", "archived")),
        ]
        for number, (before, wrong) in enumerate(steps):
            await self.registered(registry, model=f"m{number}")
            await promoted(registry, "1.0.0", *before, model=f"m{number}")
            for to in wrong:
                with pytest.raises(Conflict):
                    await registry.promote(BOB, f"m{number}", "1.0.0", to=to, evidence="because")

    async def test_a_pending_promotion_ends_when_its_version_is_archived(self, registry: Registry) -> None:
        await self.registered(registry)
        await promoted(registry, "1.0.0", "staging")
        await registry.promote(ADA, "churn", "1.0.0", to="production", evidence="good")
        await registry.promote(BOB, "churn", "1.0.0", to="archived")
        last, asked, _ = await registry.promotions(ADA, "churn")
        assert (last.to, asked.status, asked.decided_by) == ("archived", "rejected", "bob")

    async def test_a_pending_promotion_ends_when_another_version_comes_into_production(
        self, registry: Registry
    ) -> None:
        for weights in ("w1", "w2"):
            await promoted(registry, (await self.registered(registry, weights=weights)).version, "staging")
        stale = await registry.promote(ADA, "churn", "1.0.0", to="production", evidence="better than nothing")
        await promoted(registry, "1.1.0", "production")
        found = {p.id: p for p in await registry.promotions(ADA, "churn")}
        assert found[stale.id].status == "rejected"
        again = await registry.promote(BOB, "churn", "1.0.0", to="production", evidence="better than 1.1.0")
        assert again.status == "pending"

    async def test_two_people_who_decide_at_once_leave_one_production_version(self, registry: Registry) -> None:
        for weights in ("w1", "w2"):
            version = (await self.registered(registry, weights=weights)).version
            await promoted(registry, version, "staging")
            await registry.promote(ADA, "churn", version, to="production", evidence="good")
        await asyncio.gather(
            *(registry.promote(BOB, "churn", v, to="production", evidence="good") for v in ("1.0.0", "1.1.0"))
        )
        stages = sorted(v.stage for v in await registry.versions(ADA, "churn"))
        assert stages == ["production", "staging"]

    async def test_rollback_puts_the_former_version_back_at_once(self, registry: Registry) -> None:
        for weights in ("w1", "w2", "w3"):
            version = (await self.registered(registry, weights=weights)).version
            await promoted(registry, version, "staging", "production")
        assert (await registry.rollback(ADA, "churn", reason="complaints")).version == "1.1.0"
        back = await registry.rollback(ADA, "churn", reason="still complaints")
        assert (back.version, back.stage) == ("1.0.0", "production")
        last = (await registry.promotions(ADA, "churn"))[0]
        assert (last.version, last.replaces, last.status) == ("1.0.0", "1.1.0", "done")
        assert last.evidence == "Rollback: still complaints"
        with pytest.raises(Conflict):
            await registry.rollback(ADA, "churn", reason="more")

    async def test_rollback_passes_over_archived_versions(self, registry: Registry) -> None:
        for weights in ("w1", "w2", "w3"):
            version = (await self.registered(registry, weights=weights)).version
            await promoted(registry, version, "staging", "production")
        await promoted(registry, "1.1.0", "archived")
        assert (await registry.rollback(ADA, "churn", reason="bad")).version == "1.0.0"

    async def test_rollback_needs_a_reason_and_something_to_go_back_to(self, registry: Registry) -> None:
        with pytest.raises(NotFound):
            await registry.rollback(ADA, "churn", reason="bad")
        await self.registered(registry)
        with pytest.raises(Conflict):
            await registry.rollback(ADA, "churn", reason="bad")
        with pytest.raises(InvalidInput):
            await registry.rollback(ADA, "churn", reason="")

    async def test_an_alias_points_until_it_is_moved_or_removed(self, registry: Registry) -> None:
        await self.registered(registry)
        await self.registered(registry, weights="w2")
        await registry.alias(ADA, "churn", "champion", "1.0.0")
        assert (await registry.resolve(ADA, "churn@champion")).aliases == ("champion",)
        await registry.alias(ADA, "churn", "champion", "1.1.0")
        assert (await registry.resolve(ADA, "churn@champion")).version == "1.1.0"
        await registry.alias(ADA, "churn", "champion", None)
        with pytest.raises(NotFound):
            await registry.resolve(ADA, "churn@champion")
        with pytest.raises(NotFound):
            await registry.alias(ADA, "churn", "champion", None)

    async def test_reserved_and_unusable_aliases_are_refused(self, registry: Registry) -> None:
        await self.registered(registry)
        for alias in ("latest", "production", "staging", "Production", "1.0.0", "", "a b", "a@b"):
            with pytest.raises(InvalidInput):
                await registry.alias(ADA, "churn", alias, "1.0.0")

    async def test_an_alias_of_an_unknown_version_is_not_found(self, registry: Registry) -> None:
        with pytest.raises(NotFound):
            await registry.alias(ADA, "churn", "mine", "1.0.0")

    async def test_text_that_cannot_be_stored_is_refused(self, registry: Registry) -> None:
        await self.registered(registry)
        await promoted(registry, "1.0.0", "staging")
        for evidence in ("a\0b", "x" * 10_001):
            with pytest.raises(InvalidInput):
                await registry.promote(ADA, "churn", "1.0.0", to="production", evidence=evidence)

    async def test_a_page_has_one_to_a_hundred_items(self, registry: Registry) -> None:
        for limit in (0, 101, -1):
            with pytest.raises(InvalidInput):
                await registry.models(ADA, limit=limit)
            with pytest.raises(InvalidInput):
                await registry.promotions(ADA, "churn", limit=limit)

    async def test_watch_tells_every_change_after_a_cursor(self, registry: Registry) -> None:
        await self.registered(registry)
        await promoted(registry, "1.0.0", "staging", "production")
        await self.registered(registry, weights="w2")
        await promoted(registry, "1.1.0", "staging", "production")
        await registry.alias(ADA, "churn", "mine", "1.0.0")
        await registry.rollback(ADA, "churn", reason="bad")
        await promoted(registry, "1.1.0", "archived")
        found = await first_changes(registry.watch(ADA, since=0), 9)
        kinds = ["registered", *["promoted"] * 2, "registered", *["promoted"] * 2, "alias", "rolled_back", "archived"]
        assert [change.kind for change in found] == kinds
        assert sorted({change.cursor for change in found}) == [change.cursor for change in found]
        assert await first_changes(registry.watch(ADA, since=found[3].cursor), 5) == found[4:]

    async def test_watch_hears_of_what_comes_while_it_waits(self, registry: Registry) -> None:
        await self.registered(registry)
        [seen] = await first_changes(registry.watch(ADA, since=0), 1)
        waiting = asyncio.create_task(first_changes(registry.watch(ADA, since=seen.cursor), 1))
        await self.registered(registry, model="other")
        [change] = await waiting
        assert (change.model, change.version, change.kind) == ("other", "1.0.0", "registered")

    async def test_watch_without_a_cursor_tells_only_what_is_to_come(self, registry: Registry) -> None:
        await self.registered(registry)
        waiting = asyncio.create_task(first_changes(registry.watch(ADA), 1))
        told: list[str] = []
        # Where the watch begins cannot be seen from outside, so changes are made until it has.
        for number in range(1000):
            told.append((await self.registered(registry, model=f"m{number}")).model)
            if waiting.done():
                break
        [change] = await waiting
        assert change.model in told

    async def test_watch_never_tells_of_another_tenant(self, registry: Registry) -> None:
        await self.registered(registry)
        await registry.register(STRANGER, draft("theirs"), FILES)
        await self.registered(registry, weights="w2")
        found = await first_changes(registry.watch(ADA, since=0), 2)
        assert {change.model for change in found} == {"churn"}

    async def test_a_watch_can_be_left(self, registry: Registry) -> None:
        waiting = asyncio.create_task(first_changes(registry.watch(ADA, since=0), 1))
        await asyncio.sleep(0)
        waiting.cancel()
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], asyncio.CancelledError)
        assert (await self.registered(registry)).version == "1.0.0"
