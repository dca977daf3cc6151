"""The contract of Keys as tests: subclass `KeysSuite`, give it a door, and the authenticator that takes its keys.

The door must hold no key of the tenants `t1` and `t2` and permit the role `admin` all.
"""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, InvalidInput, NotAllowed, NotAuthenticated, NotFound
from stanchion.core.security.contract import Authenticator, Keys, NewKey

from .clock import FakeClock

ADA = Context("t1", "ada", Rights(frozenset({"admin"})))
STRANGER = Context("t2", "eve", Rights(frozenset({"admin"})))


class KeysSuite:
    """Override the fixtures `keys` and `authenticator`; build both with the fixture `clock`."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def keys(self) -> Keys:
        raise NotImplementedError("override the fixture `keys`")

    @pytest.fixture
    def authenticator(self) -> Authenticator:
        raise NotImplementedError("override the fixture `authenticator`")

    async def opens(self, authenticator: Authenticator, made: NewKey) -> bool:
        """Whether the key is taken, for what it was made for and nothing else."""
        try:
            found = await authenticator.authenticate(f"Bearer {made.secret}")
        except NotAuthenticated:
            return False
        assert (found.tenant, found.rights) == (made.info.tenant, made.info.rights)
        return True

    async def test_a_new_key_opens_with_its_rights(self, keys: Keys, authenticator: Authenticator) -> None:
        made = await keys.create(ADA, name="app", roles=["predictor"], scopes=["serving:read"])
        assert made.info.rights == Rights(frozenset({"predictor"}), frozenset({"serving:read"}))
        assert (made.info.tenant, made.info.name, made.info.created_by) == ("t1", "app", "ada")
        assert await self.opens(authenticator, made)
        assert made.info.id in made.secret

    async def test_a_listed_key_is_the_key_that_was_made_without_its_secret(self, keys: Keys) -> None:
        made = await keys.create(ADA, name="app", roles=["viewer"], ttl_days=1)
        assert list(await keys.list(ADA)) == [made.info]
        assert made.info.expires_at == made.info.created_at + timedelta(days=1)

    async def test_keys_are_listed_by_id_in_pages_revoked_ones_too(self, keys: Keys) -> None:
        made = [await keys.create(ADA, name=f"k{number}", roles=["viewer"]) for number in range(5)]
        await keys.revoke(ADA, made[0].info.id)
        first = await keys.list(ADA, limit=3)
        rest = await keys.list(ADA, after=first[-1].id)
        assert [k.id for k in [*first, *rest]] == sorted(k.info.id for k in made)
        for limit in (0, 101):
            with pytest.raises(InvalidInput):
                await keys.list(ADA, limit=limit)

    async def test_nobody_gives_a_right_that_it_lacks(self, keys: Keys) -> None:
        maker = Context("t1", "bob", Rights(scopes=frozenset({"keys:create", "serving:predict"})))
        assert (await keys.create(maker, name="less", scopes=["serving:predict"])).info.created_by == "bob"
        for roles, scopes in ((["viewer"], []), ([], ["*"]), ([], ["keys:revoke"])):
            with pytest.raises(NotAllowed):
                await keys.create(maker, name="more", roles=roles, scopes=scopes)

    @pytest.mark.parametrize("name", ["", "x" * 101, "line\nbreak"])
    async def test_an_unusable_name_is_refused(self, keys: Keys, name: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            await keys.create(ADA, name=name, roles=["viewer"])
        assert [fault.path for fault in caught.value.fields] == ["$.name"]

    @pytest.mark.parametrize("days", [0.0, -1.0, 3651.0, math.nan, math.inf])
    async def test_an_unusable_lifetime_is_refused(self, keys: Keys, days: float) -> None:
        with pytest.raises(InvalidInput):
            await keys.create(ADA, name="app", roles=["viewer"], ttl_days=days)

    async def test_a_key_without_rights_or_with_those_of_the_system_is_refused(self, keys: Keys) -> None:
        for roles, scopes in (([], []), (["system"], []), (["Not A Role"], []), ([], ["serving"])):
            with pytest.raises(InvalidInput):
                await keys.create(ADA, name="app", roles=roles, scopes=scopes)
        assert list(await keys.list(ADA)) == []

    async def test_an_expired_key_is_refused(self, keys: Keys, authenticator: Authenticator, clock: FakeClock) -> None:
        made = await keys.create(ADA, name="app", roles=["viewer"], ttl_days=1)
        clock.advance(86_399)
        assert await self.opens(authenticator, made)
        clock.advance(2)
        assert not await self.opens(authenticator, made)

    async def test_a_rotated_key_works_until_the_overlap_ends(
        self, keys: Keys, authenticator: Authenticator, clock: FakeClock
    ) -> None:
        old = await keys.create(ADA, name="app", roles=["viewer"])
        new = await keys.rotate(ADA, old.info.id, overlap_seconds=60)
        assert (new.info.rights, new.info.name) == (old.info.rights, "app")
        assert await self.opens(authenticator, old) and await self.opens(authenticator, new)
        clock.advance(60)
        assert not await self.opens(authenticator, old) and await self.opens(authenticator, new)
        [listed] = [key for key in await keys.list(ADA) if key.id == old.info.id]
        assert listed.replaced_by == new.info.id
        with pytest.raises(Conflict):
            await keys.rotate(ADA, old.info.id)

    async def test_a_revoked_key_is_refused_at_once_and_for_good(
        self, keys: Keys, authenticator: Authenticator
    ) -> None:
        made = await keys.create(ADA, name="app", roles=["viewer"])
        assert await self.opens(authenticator, made)
        revoked = await keys.revoke(ADA, made.info.id)
        assert not await self.opens(authenticator, made)
        assert revoked.revoked_at is not None
        assert await keys.revoke(ADA, made.info.id) == revoked
        with pytest.raises(Conflict):
            await keys.rotate(ADA, made.info.id)

    async def test_another_tenants_key_is_an_unknown_one(self, keys: Keys, authenticator: Authenticator) -> None:
        made = await keys.create(ADA, name="app", roles=["viewer"])
        assert list(await keys.list(STRANGER)) == []
        for key_id in (made.info.id, "aaaaaaaaaaaa"):
            with pytest.raises(NotFound):
                await keys.revoke(STRANGER, key_id)
            with pytest.raises(NotFound):
                await keys.rotate(STRANGER, key_id)
        assert await self.opens(authenticator, made)
