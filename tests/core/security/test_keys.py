"""API keys: how they are written, made, given, used up and ended, on every database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.context import Context, Rights
from stanchion.core.errors import Conflict, InvalidInput, NotAllowed, NotAuthenticated, NotFound, StanchionError
from stanchion.core.security import keyformat
from stanchion.core.security.keyformat import id_of, new_key
from stanchion.core.security.keys import KeyService
from stanchion.core.security.roles import ROLES, lacking
from stanchion.core.security.tables import api_keys
from stanchion.core.security.verifier import FRESH_SECONDS, KeyVerifier
from stanchion.core.storage.contract import Database
from stanchion.testing.clock import FakeClock

ADMIN = Context(tenant="acme", principal="key:root", rights=Rights(roles=frozenset({"admin"})))
OTHER = replace(ADMIN, tenant="rival")


@dataclass
class House:
    database: Database
    clock: FakeClock
    pepper: bytes

    def __post_init__(self) -> None:
        self.verifier = self.new_verifier()
        self.keys = KeyService(self.database, verifier=self.verifier, pepper=self.pepper, clock=self.clock)

    def new_verifier(self) -> KeyVerifier:
        """What another process would hold."""
        return KeyVerifier(self.database, pepper=self.pepper, clock=self.clock)


@pytest.fixture
def house(database: Database, clock: FakeClock, pepper: bytes) -> House:
    return House(database, clock, pepper)


@pytest.fixture
def small(memory: Database, clock: FakeClock, pepper: bytes) -> House:
    return House(memory, clock, pepper)


async def refusal(verifier: KeyVerifier, secret: str) -> str:
    with pytest.raises(NotAuthenticated) as caught:
        await verifier.verify(secret)
    return str(caught.value.problem())


@given(st.integers(0, 65), st.characters(codec="utf-8"))
def test_a_key_with_one_character_changed_is_not_a_key(position: int, character: str) -> None:
    key = new_key()
    changed = key.secret[:position] + character + key.secret[position + 1 :]
    assert id_of(key.secret) == key.id
    assert (id_of(changed) == key.id) == (changed == key.secret)


async def test_a_new_key_opens_and_shows_its_secret_nowhere(house: House) -> None:
    made = await house.keys.create(ADMIN, name="app", roles=["predictor"], scopes=["serving:read"])
    identity = await house.verifier.verify(made.secret)
    assert identity.principal == f"key:{made.info.id}"
    assert identity.tenant == "acme"
    assert identity.rights == made.info.rights
    rows = await house.database.read(lambda c: c.execute(api_keys.select()).all())
    secret = made.secret.split("_")[2]
    assert secret not in str(rows) + str(await house.keys.list(ADMIN))


async def test_a_revoked_key_is_refused_at_once(house: House) -> None:
    made = await house.keys.create(ADMIN, name="app", roles=["viewer"])
    await house.verifier.verify(made.secret)
    revoked = await house.keys.revoke(ADMIN, made.info.id)
    assert await house.keys.revoke(ADMIN, made.info.id) == revoked
    await refusal(house.verifier, made.secret)


async def test_a_revocation_elsewhere_is_noticed_within_two_seconds(house: House) -> None:
    elsewhere = house.new_verifier()
    made = await house.keys.create(ADMIN, name="app", roles=["viewer"])
    await elsewhere.verify(made.secret)
    await house.keys.revoke(ADMIN, made.info.id)
    house.clock.advance(FRESH_SECONDS)
    await refusal(elsewhere, made.secret)


async def test_a_key_that_was_just_verified_lends_its_id_to_no_other_secret(house: House) -> None:
    made = await house.keys.create(ADMIN, name="app", roles=["viewer"])
    await house.verifier.verify(made.secret)
    body = f"st_{made.info.id}_{new_key().secret.split('_')[2]}"
    forged = f"{body}_{keyformat._checksum(body)}"
    assert id_of(forged) == made.info.id
    for secret in (forged, made.secret[:-1], made.secret + "0", made.secret[:15]):
        await refusal(house.verifier, secret)
    await house.verifier.verify(made.secret)


async def test_a_key_that_was_just_verified_still_expires_to_the_second(house: House) -> None:
    made = await house.keys.create(ADMIN, name="app", roles=["viewer"], ttl_days=1)
    house.clock.advance(86_399)
    await house.verifier.verify(made.secret)
    await house.verifier.verify(made.secret)
    house.clock.advance(1)
    await refusal(house.verifier, made.secret)


async def test_every_bad_credential_gets_the_same_answer(house: House) -> None:
    revoked = await house.keys.create(ADMIN, name="a", roles=["viewer"])
    expired = await house.keys.create(ADMIN, name="b", roles=["viewer"], ttl_days=1)
    await house.keys.revoke(ADMIN, revoked.info.id)
    house.clock.advance(86_400)
    stranger = House(house.database, house.clock, b"q" * 32)
    forged = await stranger.keys.create(ADMIN, name="c", roles=["viewer"])
    bad = [revoked.secret, expired.secret, forged.secret, new_key().secret, "st_x", "", "st_é"]
    assert len({await refusal(house.verifier, secret) for secret in bad}) == 1


async def test_rotation_overlaps_and_then_only_the_successor_works(house: House) -> None:
    old = await house.keys.create(ADMIN, name="app", roles=["viewer"])
    new = await house.keys.rotate(ADMIN, old.info.id, overlap_seconds=60)
    assert new.info.rights == old.info.rights
    await house.verifier.verify(old.secret)
    await house.verifier.verify(new.secret)
    house.clock.advance(60)
    await refusal(house.verifier, old.secret)
    await house.verifier.verify(new.secret)
    (stored,) = [key for key in await house.keys.list(ADMIN) if key.id == old.info.id]
    assert stored.replaced_by == new.info.id


async def test_a_key_is_rotated_once_even_by_two_at_a_time(house: House) -> None:
    old = await house.keys.create(ADMIN, name="app", roles=["viewer"])
    outcomes = await asyncio.gather(*(house.keys.rotate(ADMIN, old.info.id) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(o, Conflict) for o in outcomes) == 3
    assert len(await house.keys.list(ADMIN)) == 2


async def test_an_ended_key_cannot_be_rotated_back_to_life(small: House) -> None:
    revoked = await small.keys.create(ADMIN, name="a", roles=["viewer"])
    await small.keys.revoke(ADMIN, revoked.info.id)
    expired = await small.keys.create(ADMIN, name="b", roles=["viewer"], ttl_days=1)
    small.clock.advance(86_400)
    for key in (revoked, expired):
        with pytest.raises(Conflict):
            await small.keys.rotate(ADMIN, key.info.id)


async def test_rotating_a_stronger_key_gives_nobody_its_rights(small: House) -> None:
    strong = await small.keys.create(ADMIN, name="root", roles=["admin"])
    weak = replace(ADMIN, rights=Rights(scopes=frozenset({"keys:rotate"})))
    with pytest.raises(NotAllowed):
        await small.keys.rotate(weak, strong.info.id)


async def test_another_tenants_key_answers_as_an_unknown_one(house: House) -> None:
    made = await house.keys.create(ADMIN, name="app", roles=["viewer"])

    async def answer(key_id: str, *, rotate: bool) -> object:
        with pytest.raises(StanchionError) as caught:
            await (house.keys.rotate(OTHER, key_id) if rotate else house.keys.revoke(OTHER, key_id))
        assert isinstance(caught.value, NotFound)
        return caught.value.problem()

    for rotate in (True, False):
        assert await answer(made.info.id, rotate=rotate) == await answer("no-such-key1", rotate=rotate)
    assert await house.keys.list(OTHER) == []
    await house.verifier.verify(made.secret)


async def test_keys_are_listed_in_pages_by_id(small: House) -> None:
    made = [await small.keys.create(ADMIN, name=f"k{i}", roles=["viewer"]) for i in range(5)]
    ids = sorted(key.info.id for key in made)
    first = await small.keys.list(ADMIN, limit=3)
    rest = await small.keys.list(ADMIN, after=first[-1].id, limit=3)
    assert [key.id for key in [*first, *rest]] == ids
    with pytest.raises(InvalidInput):
        await small.keys.list(ADMIN, limit=101)


@pytest.mark.parametrize(
    "bad",
    [
        {"name": ""},
        {"name": "x\n"},
        {"roles": []},
        {"roles": ["system"]},
        {"roles": ["A B"]},
        {"scopes": ["serving"]},
        {"scopes": ["*:read"]},
        {"ttl_days": 0},
        {"ttl_days": float("nan")},
    ],
)
async def test_a_key_with_senseless_terms_is_refused(small: House, bad: dict[str, object]) -> None:
    terms: dict[str, object] = {"name": "app", "roles": ["viewer"], **bad}
    with pytest.raises(InvalidInput):
        await small.keys.create(ADMIN, **terms)  # type: ignore[arg-type]  # wrong on purpose


async def test_use_is_noted_at_most_once_a_minute(house: House) -> None:
    made = await house.keys.create(ADMIN, name="app", roles=["viewer"])
    seen = []
    for seconds in (0, 30, 40):
        house.clock.advance(seconds)
        await house.verifier.verify(made.secret)
        await house.verifier.flush()
        (info,) = await house.keys.list(ADMIN)
        seen.append(info.last_used_at)
    assert seen[0] == seen[1] is not None
    assert seen[2] == house.clock.now()


async def test_a_flood_of_unknown_keys_costs_few_queries(small: House, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    read = small.database.read

    async def counted(work: object) -> object:
        nonlocal reads
        reads += 1
        return await read(work)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(small.database, "read", counted)
    flood = [new_key().secret for _ in range(1_000)]
    answers = await asyncio.gather(*(small.verifier.verify(k) for k in flood * 3), return_exceptions=True)
    assert all(isinstance(a, NotAuthenticated) for a in answers)
    assert reads <= 4


async def test_a_cancelled_check_harms_no_other(small: House) -> None:
    made = await small.keys.create(ADMIN, name="app", roles=["viewer"])
    checks = [asyncio.create_task(small.verifier.verify(made.secret)) for _ in range(5)]
    await asyncio.sleep(0)
    checks[0].cancel()
    done = await asyncio.gather(*checks, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert len({i.principal for i in done[1:] if not isinstance(i, BaseException)}) == 1


SCOPES = st.sampled_from(["*", "a:*", "b:*", "a:x", "b:x"])
RIGHTS = st.builds(
    Rights,
    roles=st.frozensets(st.sampled_from([*ROLES, "custom"]), max_size=3),
    scopes=st.frozensets(SCOPES, max_size=3),
    limit=st.none() | st.frozensets(SCOPES, max_size=2),
)


@given(RIGHTS, RIGHTS)
def test_what_a_made_key_can_give_its_maker_could_give_too(maker: Rights, wanted: Rights) -> None:
    wanted = replace(wanted, limit=None)
    assert lacking(wanted, wanted) == ()
    if not lacking(maker, wanted):
        for grandchild in (Rights(roles=frozenset({r})) for r in ROLES):
            assert lacking(wanted, grandchild) or not lacking(maker, grandchild)
