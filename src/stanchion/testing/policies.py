"""The contract of Policies as tests: subclass `PoliciesSuite` and give it a door.

The door must hold no policies of the tenants `t1` and `t2`, know the actions of `Keys`, and permit the role
`admin` all.
"""

from __future__ import annotations

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, InvalidInput
from stanchion.core.security.contract import Policies

ADA = Context("t1", "ada", Rights(frozenset({"admin"})))
STRANGER = Context("t2", "eve", Rights(frozenset({"admin"})))
FORBID = '@id("no-list")\nforbid (principal, action == Action::"keys:list", resource);'
LOCKED = 'forbid (principal, action == Action::"policies:write", resource);'


class PoliciesSuite:
    """Override the fixture `policies`."""

    @pytest.fixture
    def policies(self) -> Policies:
        raise NotImplementedError("override the fixture `policies`")

    async def allowed(self, policies: Policies, ctx: Context = ADA, *, action: str = "keys:list") -> bool:
        """Whether an admin of the tenant may do this."""
        return (await policies.check(ctx, roles=["admin"], scopes=[], action=action, resource="*")).allowed

    async def test_a_tenant_begins_with_no_policies_of_its_own(self, policies: Policies) -> None:
        found = await policies.get(ADA)
        assert (found.tenant, found.version, found.text, found.changed_at) == ("t1", 0, "", None)

    async def test_the_built_in_policies_can_be_read(self, policies: Policies) -> None:
        text = await policies.built_in(ADA)
        assert '@id("tenant-wall")' in text
        assert "permit" in text

    async def test_stored_policies_come_back_and_count_up(self, policies: Policies) -> None:
        stored = await policies.put(ADA, FORBID, version=0)
        assert (stored.version, stored.text, stored.changed_by) == (1, FORBID, "ada")
        assert stored.changed_at is not None
        assert await policies.get(ADA) == stored
        assert (await policies.put(ADA, "", version=1)).version == 2

    async def test_a_change_made_from_an_old_version_conflicts(self, policies: Policies) -> None:
        await policies.put(ADA, FORBID, version=0)
        for version in (0, 2):
            with pytest.raises(Conflict):
                await policies.put(ADA, "", version=version)
        assert (await policies.get(ADA)).text == FORBID

    async def test_a_forbid_wins_at_once_and_for_its_tenant_only(self, policies: Policies) -> None:
        assert await self.allowed(policies)
        await policies.put(ADA, FORBID, version=0)
        assert not await self.allowed(policies)
        assert await self.allowed(policies, action="keys:revoke")
        assert await self.allowed(policies, STRANGER)
        assert (await policies.get(STRANGER)).version == 0

    async def test_a_verdict_names_its_reasons(self, policies: Policies) -> None:
        await policies.put(ADA, FORBID, version=0)
        verdict = await policies.check(ADA, roles=["admin"], scopes=[], action="keys:list", resource="*")
        assert (verdict.allowed, any("no-list" in reason for reason in verdict.reasons)) == (False, True)
        by_scope = await policies.check(ADA, roles=[], scopes=["keys:revoke"], action="keys:revoke", resource="k1")
        assert (by_scope.allowed, any("scopes" in reason for reason in by_scope.reasons)) == (True, True)

    async def test_without_a_permit_a_call_is_denied(self, policies: Policies) -> None:
        for roles, scopes in (([], []), (["nobody"], []), (["predictor"], []), ([], ["serving:predict"])):
            verdict = await policies.check(ADA, roles=roles, scopes=scopes, action="keys:list", resource="*")
            assert (verdict.allowed, verdict.reasons) == (False, ())

    async def test_an_unknown_action_is_invalid(self, policies: Policies) -> None:
        with pytest.raises(InvalidInput):
            await policies.check(ADA, roles=["admin"], scopes=[], action="nobody:knows", resource="*")

    @pytest.mark.parametrize("text", ["permit", 'permit (principal, action == Action::"no:such", resource);', LOCKED])
    async def test_policies_that_cannot_hold_are_refused_with_their_faults(self, policies: Policies, text: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            await policies.put(ADA, text, version=0)
        assert caught.value.fields
        assert (await policies.get(ADA)).version == 0
