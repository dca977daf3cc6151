"""An answer that is given again over HTTP passes every check that a new one does, and is told like one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp

from stanchion.core.security.contract import Audit, Keys
from stanchion.core.telemetry.contract import Observatory
from stanchion.gateway.contract.calls import Account, Reply
from stanchion.gateway.protocols.heads import Heads
from stanchion.system import System
from stanchion.testing.upstreams import Upstream

PATH = "/v1/chat/completions"
CHAT = {"model": "route:kept", "messages": [{"role": "user", "content": "Hello."}]}


def declare(app: System, ups: dict[str, Upstream]) -> None:
    first = app.upstream("first", kind="openai", url=ups["first"].url + "/v1")
    small = app.language_model("small", upstream=first, input_price="1", output_price="2")
    app.route("kept", primary=small, cache_seconds=600)


async def asked(http: aiohttp.ClientSession, servers: Any, key: str) -> tuple[int, bytes, dict[str, str]]:
    async with http.post(servers.url + PATH, json=CHAT, headers={"authorization": f"Bearer {key}"}) as answer:
        return answer.status, await answer.read(), {k.lower(): v for k, v in answer.headers.items()}


async def rows_of(servers: Any, count: int) -> list[Any]:
    """The ledger rows of the calls, oldest first, once so many are stored."""
    door = servers.run.door(Observatory)
    async with asyncio.timeout(60):
        while len(rows := await door.requests(servers.run.ctx, limit=50, route=f"POST {PATH}")) < count:
            await asyncio.sleep(0.05)
    return list(reversed(rows))


async def test_a_kept_answer_is_told_with_its_own_length_cost_and_row(served: Callable[..., Any]) -> None:
    async with served(declare, first=("openai", "Good day.", {})) as servers, aiohttp.ClientSession() as http:
        told = [await asked(http, servers, servers.key) for _ in range(3)]
        assert [status for status, _, _ in told] == [200, 200, 200]
        assert len({body for _, body, _ in told}) == 1
        heads = [head for _, _, head in told]
        assert [head["x-stanchion-cache"] for head in heads] == ["miss", "hit", "hit"]
        assert {head["content-length"] for head in heads} == {str(len(told[0][1]))}
        costs = [float(head["x-stanchion-cost-usd"]) for head in heads]
        assert costs[0] > 0
        assert costs[1:] == [0, 0]
        assert len({head["x-request-id"] for head in heads}) == 3
        rows = await rows_of(servers, 3)
        assert [row.cache for row in rows] == ["miss", "hit", "hit"]
        assert {(row.subject, row.version, row.rung, row.outcome) for row in rows} == {
            ("route:kept", "small", "primary", "ok")
        }
        assert [row.cost > 0 for row in rows] == [True, False, False]
        assert len(servers.upstreams["first"].calls) == 1


async def test_a_kept_answer_is_not_for_who_may_not_call_nor_for_other_rights(served: Callable[..., Any]) -> None:
    async with served(declare, first=("openai", "Good day.", {})) as servers, aiohttp.ClientSession() as http:
        keys = servers.run.door(Keys)
        narrow = await keys.create(servers.run.ctx, name="narrow", scopes=["gateway:complete"])
        reader = await keys.create(servers.run.ctx, name="reader", scopes=["telemetry:read"])
        told = [await asked(http, servers, servers.key) for _ in range(2)]
        assert told[1][2]["x-stanchion-cache"] == "hit"
        status, body, head = await asked(http, servers, reader.secret)
        assert (status, b"Good day." in body, "x-stanchion-cache" in head) == (403, False, False)
        events = await servers.run.door(Audit).events(servers.run.ctx, limit=20)
        assert ("gateway:complete", "denied") in {(each.action, each.outcome) for each in events}
        assert (await asked(http, servers, narrow.secret))[2]["x-stanchion-cache"] == "miss"
        await keys.revoke(servers.run.ctx, narrow.info.id)
        assert (await asked(http, servers, narrow.secret))[0] == 401


def test_answers_of_one_account_have_each_its_own_length() -> None:
    account = Account("first", "small", "primary", "kept", cache="hit")
    heads = Heads()
    first, second = (dict(heads.whole(Reply(body, account))) for body in (b"{}", b"{...}"))
    assert (first[b"content-length"], second[b"content-length"]) == (b"2", b"5")
    flagged = replace(account, flags=("length",))
    assert dict(heads.whole(Reply(b"{}", flagged)))[b"x-stanchion-flags"] == b"length"
    assert b"x-stanchion-flags" not in dict(heads.whole(Reply(b"{}", account)))


def test_heads_of_many_answers_are_told_apart_after_the_first_are_forgotten() -> None:
    heads = Heads()
    for number in range(2_500):
        account = Account("first", f"model-{number}", "primary", cache="hit")
        for _ in range(2):
            assert dict(heads.whole(Reply(b"", account)))[b"x-stanchion-model"] == b"model-%d" % number
