"""Who is let in: by key, token, TLS peer or session."""

from __future__ import annotations

import pytest

from stanchion.core.context import Context, Rights
from stanchion.core.errors import NotAllowed, NotAuthenticated
from stanchion.core.security.authenticate import Doorkeeper
from stanchion.core.security.contract import Identity, NewKey
from stanchion.core.security.keys import KeyService
from stanchion.core.security.sessions import Sessions
from stanchion.core.security.verifier import KeyVerifier
from stanchion.core.storage.contract import Database
from stanchion.testing.clock import FakeClock

ADMIN = Context(tenant="acme", principal="key:root", rights=Rights(roles=frozenset({"admin"})))
PEER = Identity(tenant="acme", principal="service:spiffe://mesh.test/training", rights=Rights())


class House:
    def __init__(self, database: Database, clock: FakeClock, pepper: bytes) -> None:
        self.clock = clock
        verifier = KeyVerifier(database, pepper=pepper, clock=clock)
        self.keys = KeyService(database, verifier=verifier, pepper=pepper, clock=clock)
        self.sessions = Sessions(database, verifier=verifier, pepper=pepper, clock=clock)
        self.door = Doorkeeper(keys=verifier, sessions=self.sessions, peers={"spiffe://mesh.test/training": PEER})

    async def key(self) -> NewKey:
        return await self.keys.create(ADMIN, name="console", roles=["viewer"])


@pytest.fixture
def house(database: Database, clock: FakeClock, pepper: bytes) -> House:
    return House(database, clock, pepper)


@pytest.fixture
def small(memory: Database, clock: FakeClock, pepper: bytes) -> House:
    return House(memory, clock, pepper)


async def test_a_key_in_the_header_is_let_in(small: House) -> None:
    key = await small.key()
    for scheme in ("Bearer", "bearer"):
        identity = await small.door.authenticate(f"{scheme} {key.secret}")
        assert identity.principal == f"key:{key.info.id}"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer a.b.c", "Bearer st_\x00", "Bearer é"]
)
async def test_a_header_that_proves_nothing_is_refused_even_from_a_known_peer(small: House, header: str) -> None:
    with pytest.raises(NotAuthenticated):
        await small.door.authenticate(header, peer="spiffe://mesh.test/training")


async def test_a_known_peer_speaks_in_its_own_name_and_no_other_peer_does(small: House) -> None:
    assert await small.door.authenticate(None, peer="spiffe://mesh.test/training") is PEER
    for stranger in ("spiffe://mesh.test/other", "spiffe://away.test/training", None):
        with pytest.raises(NotAuthenticated):
            await small.door.authenticate(None, peer=stranger)


async def test_a_session_stands_for_its_key(house: House) -> None:
    key = await house.key()
    session = await house.sessions.login(key.secret)
    assert await house.door.session(session.token) == session.identity
    await house.sessions.logout(session.token)
    with pytest.raises(NotAuthenticated):
        await house.door.session(session.token)


async def test_a_session_ends_with_its_key(house: House) -> None:
    key = await house.key()
    session = await house.sessions.login(key.secret)
    await house.keys.revoke(ADMIN, key.info.id)
    with pytest.raises(NotAuthenticated):
        await house.door.session(session.token)


async def test_an_idle_session_ends_after_an_hour(house: House) -> None:
    session = await house.sessions.login((await house.key()).secret)
    for _ in range(3):
        house.clock.advance(3_599)
        await house.door.session(session.token)
    house.clock.advance(3_600)
    with pytest.raises(NotAuthenticated):
        await house.door.session(session.token)


async def test_a_busy_session_ends_after_twelve_hours(house: House) -> None:
    session = await house.sessions.login((await house.key()).secret)
    for _ in range(23):
        house.clock.advance(1_800)
        await house.door.session(session.token)
    house.clock.advance(1_800)
    with pytest.raises(NotAuthenticated):
        await house.door.session(session.token)


async def test_a_session_change_needs_its_own_csrf_token(small: House) -> None:
    key = await small.key()
    mine, another = await small.sessions.login(key.secret), await small.sessions.login(key.secret)
    small.sessions.check_csrf(mine.token, mine.csrf)
    for wrong in (another.csrf, "", None, "é"):
        with pytest.raises(NotAllowed):
            small.sessions.check_csrf(mine.token, wrong)


async def test_a_session_shows_its_token_in_no_text(small: House) -> None:
    session = await small.sessions.login((await small.key()).secret)
    assert session.token not in repr(session)
    assert session.csrf not in repr(session)


@pytest.mark.parametrize("token", [None, "", "ss_unknown", "é", "x" * 9_000])
async def test_an_unknown_session_is_refused(small: House, token: str | None) -> None:
    with pytest.raises(NotAuthenticated):
        await small.door.session(token)
