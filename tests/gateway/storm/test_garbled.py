"""An event that cannot be read amid a stream, the proper end behind it: the answer broke off there, and is paid so."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stanchion.core.errors import Unavailable
from stanchion.gateway import Ask, Gateway
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import Fault, Reply, upstream

WORDS = "One two three four five six seven eight."
END = {"chat": b"[DONE]", "messages": b"message_stop", "responses": b"response.completed"}
PAIRS = [(shape, family) for shape in END for family in ("openai", "anthropic", "gemini", "bedrock")]


@pytest.mark.parametrize(("shape", "family"), PAIRS)
async def test_an_event_that_cannot_be_read_is_where_the_answer_ends(shape: Any, family: Any) -> None:
    begun = asyncio.Event()

    async def wait(number: int) -> None:
        # The fault comes when the client has been given something: nobody else may answer then.
        if number >= 5:
            await begun.wait()

    says = Reply(WORDS, wait=wait)
    async with upstream(family, says, faults=[Fault("garbled", after=7)]) as up:
        app = System("garbled")
        app.upstream("up", kind=family, url=up.url + ("/v1" if family == "openai" else ""))
        small = app.language_model("small", upstream="up", input_price="1", output_price="1")
        app.route("task", primary=small)
        data, accounts = b"", []
        turns = [{"role": "user", "content": "Count."}]
        asked = {"model": "route:task", "stream": True, "input" if shape == "responses" else "messages": turns}
        ask = Ask(shape, json.dumps(asked | ({"max_tokens": 50} if shape == "messages" else {})).encode())
        async with offline(app) as run:
            gateway = run.door(Gateway)
            with pytest.raises(Unavailable):
                async for piece in gateway.stream(run.ctx, ask):
                    begun.set()
                    data += piece.data
                    accounts.append(piece.account)
            today = datetime.now(UTC).date()
            [used] = await gateway.usage(
                run.ctx, start=today - timedelta(days=1), end=today + timedelta(days=2), by=("outcome",)
            )
    # Every event can be read, the last one is the error, and nothing that came behind the fault was passed on.
    events = [json.loads(line[5:]) for line in data.splitlines() if line.startswith(b"data:")]
    assert "error" in events[-1]
    assert b"One" in data
    assert b"eight" not in data
    assert END[shape] not in data
    assert not any(accounts)
    assert (used.group, used.requests) == ({"outcome": "unavailable"}, 1)
    assert 0 < used.cost == (used.usage.tokens_in + used.usage.tokens_out) * 10**6
