"""Webhooks in and out: whose signature holds, where may be sent to, and what is sent again."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from stanchion.core.context import Context, Rights
from stanchion.core.errors import InvalidInput, NotAllowed, NotAuthenticated, NotFound
from stanchion.core.security.tables import SECURITY_SCHEMA
from stanchion.core.security.vault import MasterKeys, Vault
from stanchion.core.storage.open import open_database
from stanchion.events import Author, Delivery, Event, Outcome, Settled
from stanchion.events.contract.hooks import HookSpec
from stanchion.events.webhooks.addresses import Addresses, networks_of
from stanchion.events.webhooks.keeping import HookTable
from stanchion.events.webhooks.posting import Poster
from stanchion.events.webhooks.sending import Sender
from stanchion.events.webhooks.service import HookService
from stanchion.events.webhooks.signing import headers, signature
from stanchion.testing.clock import FakeClock

ADMIN = Context(tenant="acme", principal="key:admin", rights=Rights(roles=frozenset({"admin"})))
OTHER = replace(ADMIN, tenant="other")
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
IN = HookSpec(name="github", direction="in", type="github.push", scopes=("features:read",))
ENGINES = pytest.mark.parametrize("place", ["memory", "sqlite", "postgres"], indirect=True)
LOCAL = Addresses(networks_of(["127.0.0.0/8"]))


class FakeBus:  # what webhooks use of Events
    """Hands out what it is given, and keeps what it is told."""

    def __init__(self) -> None:
        self.waiting: list[Delivery] = []
        self.outcomes: list[Outcome] = []
        self.made: list[str] = []
        self.paused: set[str] = set()
        self.removed: list[str] = []
        self.changed = asyncio.Event()

    async def take(
        self, ctx: Context, consumer: str, *, types: Sequence[str] = ("*",), limit: int = 100, wait: float = 0.0
    ) -> Sequence[Delivery]:
        self.made.append(consumer)
        if not self.waiting and wait:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 60)
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    async def settle(self, ctx: Context, consumer: str, outcomes: Sequence[Outcome]) -> Sequence[Settled]:
        self.outcomes += outcomes
        return [Settled(each.token, each.verdict) for each in outcomes]

    async def extend(
        self, ctx: Context, consumer: str, tokens: Sequence[str], *, seconds: float = 30.0
    ) -> Sequence[bool]:
        return [True for _ in tokens]

    async def pause(self, ctx: Context, consumer: str) -> None:
        self.paused.add(consumer)

    async def resume(self, ctx: Context, consumer: str) -> None:
        self.paused.discard(consumer)

    async def remove(self, ctx: Context, consumer: str) -> int:
        self.removed.append(consumer)
        return 0

    def put(self, *identities: str) -> None:
        for identity in identities:
            event = Event.of("order.placed", "/shop", {"n": identity}, subject=identity)
            author = Author(tenant="acme", principal="key:shop")
            self.waiting.append(
                Delivery(event, author, "webhook.out", identity, 1, identity, datetime(2026, 1, 1, tzinfo=UTC), 30.0)
            )
        self.changed.set()


class Place:
    def __init__(self, table: HookTable, clock: FakeClock, bus: FakeBus, addresses: Addresses) -> None:
        self.table, self.clock, self.bus, self.addresses = table, clock, bus, addresses
        self.service = HookService(table, addresses=addresses, bus=bus, clock=clock)


@pytest.fixture(params=["memory"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """A service on memory; on other engines where a test names them."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    else:
        url = "memory:" if request.param == "memory" else f"sqlite://{tmp_path / 'hooks.db'}"
    database, clock = open_database(url), FakeClock()
    await database.prepare(SECURITY_SCHEMA)
    table = HookTable(database, Vault(database, MasterKeys.single(b"m" * 32), clock=clock), clock)
    yield Place(table, clock, FakeBus(), LOCAL)
    await database.close()


def signed(
    place: Place, secret: str, body: bytes, *, identity: str = "m1", ago: float = 0, **more: str
) -> dict[str, str]:
    at = int(place.clock.now().timestamp() - ago)
    return {**headers([secret], identity, at, body), "content-type": "application/json", **more}


# In


@ENGINES
async def test_a_signed_message_becomes_an_event_with_the_webhooks_rights(place: Place) -> None:
    made = await place.service.put_hook(ADMIN, IN, secret=SECRET)
    assert made.secret == SECRET and SECRET not in repr(made)
    body = b'{"ref": "main"}'
    found = await place.service.admit(ADMIN, "github", signed(place, SECRET, body), body)
    assert (found.event.type, found.event.source, found.event.id) == ("github.push", "/webhooks/github", "m1")
    assert found.event.json() == {"ref": "main"}
    assert found.principal == "webhook:github" and found.rights.scopes == {"features:read", "events:publish"}


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of the Standard Webhooks specification's reference libraries.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_no_message_is_taken_that_is_not_signed_just_so(place: Place) -> None:
    await place.service.put_hook(ADMIN, IN, secret=SECRET)
    body = b'{"a": 1}'
    good = signed(place, SECRET, body)
    other = "whsec_" + base64.b64encode(b"t" * 32).decode()
    bare = base64.b64encode(hmac.digest(b"s" * 32, body, "sha256")).decode()
    wrong: dict[str, tuple[dict[str, str], bytes]] = {
        "another body": (good, body + b" "),
        "another id": ({**good, "webhook-id": "m2"}, body),
        "another time": ({**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)}, body),
        "another secret": (signed(place, other, body), body),
        "a signature of the body alone": ({**good, "webhook-signature": f"v1,{bare}"}, body),
        "another version": ({**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")}, body),
        "no signature": ({k: v for k, v in good.items() if k != "webhook-signature"}, body),
        "no time": ({k: v for k, v in good.items() if k != "webhook-timestamp"}, body),
        "no id": ({k: v for k, v in good.items() if k != "webhook-id"}, body),
        "letters outside ASCII": ({**good, "webhook-signature": "v1,é"}, body),
        "too old": (signed(place, SECRET, body, ago=301), body),
        "of the future": (signed(place, SECRET, body, ago=-302), body),
    }
    for name, (given, content) in wrong.items():
        with pytest.raises(NotAuthenticated):
            await place.service.admit(ADMIN, "github", given, content)
            pytest.fail(name)
    for ctx, hook in ((ADMIN, "other"), (OTHER, "github")):
        with pytest.raises(NotAuthenticated):
            await place.service.admit(ctx, hook, good, body)
    assert (await place.service.admit(ADMIN, "github", signed(place, SECRET, body, ago=299), body)).event


@ENGINES
async def test_a_rotated_secret_holds_on_for_a_while(place: Place) -> None:
    await place.service.put_hook(ADMIN, IN, secret=SECRET)
    new = (await place.service.rotate_hook(ADMIN, "github", overlap=60)).secret
    for secret in (SECRET, new):
        assert (await place.service.admit(ADMIN, "github", signed(place, secret, b"{}"), b"{}")).event
    place.clock.advance(61)
    with pytest.raises(NotAuthenticated):
        await place.service.admit(ADMIN, "github", signed(place, SECRET, b"{}"), b"{}")
    assert (await place.service.admit(ADMIN, "github", signed(place, new, b"{}"), b"{}")).event


async def test_a_cloudevent_comes_through_as_it_is_if_its_type_is_expected(place: Place) -> None:
    await place.service.put_hook(ADMIN, replace(IN, name="partner", type="partner.*"), secret=SECRET)
    kind = {"content-type": "application/cloudevents+json"}

    async def admit(event: dict[str, Any]) -> Event:
        body = json.dumps({"specversion": "1.0", "id": "7", "source": "/p", **event}).encode()
        return (await place.service.admit(ADMIN, "partner", signed(place, SECRET, body) | kind, body)).event

    assert (await admit({"type": "partner.hello"})).source == "/p"
    for wrong in ({"type": "house.secret"}, {"type": ""}):
        with pytest.raises(InvalidInput):
            await admit(wrong)
    with pytest.raises(InvalidInput):
        await place.service.admit(ADMIN, "partner", signed(place, SECRET, b"{}"), b"{}")


async def test_a_webhook_gets_no_rights_that_its_maker_lacks(place: Place) -> None:
    maker = replace(ADMIN, rights=Rights(roles=frozenset({"developer"})))
    with pytest.raises(NotAllowed):
        await place.service.put_hook(maker, replace(IN, roles=("admin",)))
    with pytest.raises(NotAllowed):
        await place.service.put_hook(maker, replace(IN, scopes=("keys:create",)))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": "A b"}, "$.name"),
        ({"type": ""}, "$.type"),
        ({"url": "https://a.b"}, "$.url"),
        ({"scopes": ("x",)}, "$.scopes[0]"),
        ({"direction": "out", "type": "", "scopes": (), "types": ("*",), "url": "ftp://a"}, "$.url"),
        ({"direction": "out", "type": "", "scopes": (), "types": ("*",), "url": "https://u:p@a"}, "$.url"),
        ({"direction": "out", "type": "", "scopes": (), "types": ("*",), "url": "https://a:99999"}, "$.url"),
        ({"direction": "out", "type": "", "scopes": (), "url": "https://a.b"}, "$.types"),
    ],
)
async def test_what_cannot_be_a_webhook_is_refused_with_its_path(
    place: Place, changes: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await place.service.put_hook(ADMIN, replace(IN, **changes))
    assert path in [fault.path for fault in refused.value.fields]


async def test_secrets_are_long_enough_and_not_kept_in_the_clear(place: Place) -> None:
    for wrong in ("whsec_YQ==", "plain", "whsec_" + base64.b64encode(b"x" * 65).decode(), "whsec_!"):
        with pytest.raises(InvalidInput):
            await place.service.put_hook(ADMIN, IN, secret=wrong)
    made = await place.service.put_hook(ADMIN, IN)
    again = await place.service.put_hook(ADMIN, replace(IN, description="changed"))
    assert again.secret == made.secret and len(base64.b64decode(made.secret[6:])) == 32


@ENGINES
async def test_one_tenants_webhooks_are_not_anothers(place: Place) -> None:
    await place.service.put_hook(ADMIN, IN)
    assert await place.service.hooks(OTHER) == []
    for call in (place.service.drop_hook(OTHER, "github"), place.service.rotate_hook(OTHER, "github")):
        with pytest.raises(NotFound):
            await call
    await place.service.drop_hook(ADMIN, "github")
    assert await place.service.hooks(ADMIN) == []


# Where may be sent to

FORBIDDEN = (
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1",
    "2002:7f00:1::", "2001:0:53aa:64c:0:0:f5ff:fffe", "2001:db8::1", "not an address",
)  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_an_address_that_is_not_public_is_not_reached(address: str) -> None:
    assert not Addresses().permits(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is_reached(address: str) -> None:
    assert Addresses().permits(address)


def test_a_permitted_network_is_reached_and_no_other() -> None:
    some = Addresses(networks_of(["10.1.0.0/16", "fd00::/8"]))
    assert some.permits("10.1.2.3") and some.permits("fd12::1") and some.permits("::ffff:10.1.2.3")
    assert not some.permits("10.2.0.1") and not some.permits("127.0.0.1")


async def test_no_webhook_goes_to_a_private_address_or_in_the_clear(place: Place) -> None:
    service = HookService(place.table, addresses=Addresses(), bus=place.bus, clock=place.clock)
    for url in ("https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest", "http://example.com/"):
        with pytest.raises(NotAllowed):
            await service.put_hook(ADMIN, HookSpec(name="out", direction="out", types=("*",), url=url))


class Resolving(aiohttp.abc.AbstractResolver):
    """Names one address for every name, as somebody's name server may."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        return [{"hostname": host, "host": self._address, "port": port, "family": family or 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("reachable", [True, False])
async def test_a_name_is_judged_by_what_it_means_when_the_socket_is_made(place: Place, reachable: bool) -> None:
    asked: list[str] = []

    def note(request: web.Request) -> int:
        asked.append(request.path)
        return 200

    async with _server(note) as base:
        poster = Poster(LOCAL if reachable else Addresses(), place.clock)
        poster._pool().connector._resolver = Resolving("127.0.0.1")  # type: ignore[union-attr]
        place.bus.put("1")
        answer = await poster.post(base.replace("127.0.0.1", "rebound.example"), [SECRET], place.bus.waiting[0])
        await poster.close()
    assert (answer.ok, len(asked)) == (reachable, int(reachable))
    assert reachable or "may not be reached" in answer.said


# Out


class _server:
    """An HTTP server whose answers a function gives: a status, or a status with headers."""

    def __init__(self, answer: Callable[[web.Request], Any]) -> None:
        self._answer = answer
        self.bodies: list[bytes] = []

    async def _handle(self, request: web.Request) -> web.Response:
        await request.read()  # which the request remembers
        told = self._answer(request)
        status, more = told if isinstance(told, tuple) else (told, {})
        return web.Response(status=status, headers=more)

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"

    async def __aexit__(self, *rest: object) -> None:
        await self._runner.cleanup()


async def _until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.01)


async def test_events_go_out_signed_and_are_done_once_they_are_taken(place: Place) -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    def take(request: web.Request) -> int:
        got.append(({k.lower(): v for k, v in request.headers.items()}, request._read_bytes or b""))
        return 204

    async with _server(take) as url:
        made = await place.service.put_hook(ADMIN, HookSpec(name="out", direction="out", types=("order.*",), url=url))
        assert place.bus.made == [made.view.consumer] and made.view.consumer.startswith("webhook.out.")
        sender = Sender(place.table, Poster(LOCAL, place.clock), place.bus, clock=place.clock, failures=3)
        await sender.start()
        place.bus.put("1", "2")
        await _until(lambda: len(place.bus.outcomes) == 2)
        await sender.stop()
    assert [each.verdict for each in place.bus.outcomes] == ["done", "done"]
    for told, body in got:
        at = int(told["webhook-timestamp"])
        assert told["webhook-signature"] == signature(made.secret, told["webhook-id"], at, body)
        assert told["content-type"] == "application/cloudevents+json" and json.loads(body)["type"] == "order.placed"
    assert len({told["webhook-id"] for told, _ in got}) == 2
    assert (await place.service.hooks(ADMIN))[0].last_done is not None


async def test_what_is_not_taken_is_sent_again_when_the_other_side_asks(place: Place) -> None:
    async with _server(lambda request: (503, {"retry-after": "7"})) as url:
        await place.service.put_hook(ADMIN, HookSpec(name="out", direction="out", types=("*",), url=url))
        sender = Sender(place.table, Poster(LOCAL, place.clock), place.bus, clock=place.clock, failures=99)
        await sender.start()
        place.bus.put("1")
        await _until(lambda: len(place.bus.outcomes) == 1)
        await sender.stop()
    one = place.bus.outcomes[0]
    assert (one.verdict, one.after, one.error) == ("retry", 7.0, "status 503")


async def test_a_redirection_is_not_followed(place: Place) -> None:
    asked: list[str] = []

    def away(request: web.Request) -> Any:
        asked.append(request.path)
        return 307, {"location": "/elsewhere"}

    async with _server(away) as url:
        poster = Poster(LOCAL, place.clock)
        place.bus.put("1")
        answer = await poster.post(url, [SECRET], place.bus.waiting[0])
        await poster.close()
    assert (answer.ok, answer.said, asked) == (False, "status 307", ["/hook"])


@ENGINES
@pytest.mark.parametrize(("status", "failures"), [(500, 1), (410, 99)])
async def test_a_webhook_that_keeps_failing_or_is_gone_is_disabled_until_it_is_put_again(
    place: Place, status: int, failures: int
) -> None:
    spec = HookSpec(name="out", direction="out", types=("*",), url="")
    async with _server(lambda request: status) as url:
        await place.service.put_hook(ADMIN, replace(spec, url=url))
        sender = Sender(place.table, Poster(LOCAL, place.clock), place.bus, clock=place.clock, failures=failures)
        await sender.start()
        place.bus.put("1")
        async with asyncio.timeout(60):
            while not place.bus.paused:
                await asyncio.sleep(0.01)
        await sender.stop()
        view = (await place.service.hooks(ADMIN))[0]
        assert (view.state, view.failures, view.last_error) == ("disabled", 1, f"status {status}")
        assert await place.table.sending() == []
        # Paused: what waits for it must not hold up those who publish.
        assert place.bus.paused == {view.consumer}
        again = await place.service.put_hook(ADMIN, replace(spec, url=url))
        assert (again.view.state, again.view.failures, again.view.consumer) == ("active", 0, view.consumer)
        assert place.bus.paused == set()


async def test_new_types_are_a_new_consumer_and_a_dropped_webhook_leaves_none_behind(place: Place) -> None:
    spec = HookSpec(name="out", direction="out", types=("order.*",), url="http://127.0.0.1:1/")
    first = (await place.service.put_hook(ADMIN, spec)).view.consumer
    assert (await place.service.put_hook(ADMIN, replace(spec, description="changed"))).view.consumer == first
    second = (await place.service.put_hook(ADMIN, replace(spec, types=("*",)))).view.consumer
    assert second != first and place.bus.removed == [first] and place.bus.made == [first, second]
    await place.service.drop_hook(ADMIN, "out")
    assert place.bus.removed == [first, second]
    third = (await place.service.put_hook(ADMIN, spec)).view.consumer
    assert third not in (first, second)
