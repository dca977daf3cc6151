"""A dialect, the gateway's own transport and a scripted upstream that asks for its key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.errors import StanchionError
from stanchion.gateway.backends.http import HttpTransport
from stanchion.gateway.contract.specs import Credential, UpstreamSpec
from stanchion.gateway.dialects.bedrock import BedrockDialect
from stanchion.gateway.dialects.gemini import GeminiDialect
from stanchion.gateway.ports import Dialect, Transport
from stanchion.gateway.wire.conversation import Conversation, Ended, Step, Text, Turn, Words
from stanchion.testing.upstreams import Fault, SigningKey, Upstream, upstream

CTX = Context("t1", "key:test")
CASES = {
    "gemini": (GeminiDialect(), "gemini-3-pro", "k-1", "k-1"),
    "bedrock by signature": (
        BedrockDialect(),
        "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x-v1:0",
        SigningKey("AKID", "s/+", "eu-west-1", "token"),
        "AKID:s/+:token",
    ),
    "bedrock by key": (BedrockDialect(), "eu.x-v1:0", "k-1", "k-1"),
}


def asked(*, stream: bool) -> Conversation:
    return Conversation(turns=[Turn("user", [Text("Hello.")])], stream=stream)


@asynccontextmanager
async def transport(server: Upstream, kind: str, secret: str) -> AsyncIterator[Transport]:
    async def reveal(reference: str) -> str:
        return {"env:KEY": secret}[reference]

    spec = UpstreamSpec(
        name="up",
        kind="gemini" if kind == "gemini" else "bedrock",
        url=server.url,
        credential=Credential("env:KEY"),
        region="eu-west-1",
    )
    made = HttpTransport(spec, clock=SystemClock(), secrets=reveal)
    try:
        yield made
    finally:
        await made.close()


async def read(dialect: Dialect, link: Transport, model: str) -> list[Step]:
    reader = dialect.reader()
    async with link.send(CTX, dialect.request(asked(stream=True), model)) as response:
        assert response.status == 200
        steps = [step async for data in response.pieces() for step in reader.feed(data)]
    return [*steps, *reader.close()]


@pytest.mark.parametrize("case", CASES)
async def test_a_call_is_let_in_and_answered(case: str) -> None:
    dialect, model, key, secret = CASES[case]
    async with upstream(case.split()[0], "Good morning.", key=key) as server, transport(server, case, secret) as link:
        async with link.send(CTX, dialect.request(asked(stream=False), model)) as response:
            answer = dialect.answer(await response.read())
        steps = await read(dialect, link, model)
    assert answer.parts == [Text("Good morning.")]
    assert "".join(step.text for step in steps if isinstance(step, Words)) == "Good morning."
    assert [step.stop for step in steps if isinstance(step, Ended)] == ["stop"]
    assert [call.model for call in server.calls] == [model, model]


@pytest.mark.parametrize("case", CASES)
async def test_a_wrong_key_is_not_let_in(case: str) -> None:
    dialect, model, key, secret = CASES[case]
    async with (
        upstream(case.split()[0], key=key) as server,
        transport(server, case, f"{secret}x") as link,
        link.send(CTX, dialect.request(asked(stream=False), model)) as response,
    ):
        assert response.status in (401, 403)


@pytest.mark.parametrize("kind", ["cut", "malformed", "error_in_stream"])
@pytest.mark.parametrize("case", CASES)
async def test_a_stream_that_breaks_is_an_error(case: str, kind: str) -> None:
    dialect, model, key, secret = CASES[case]
    async with (
        upstream(case.split()[0], "One two three four.", key=key, faults=[Fault(kind, after=3)]) as server,
        transport(server, case, secret) as link,
    ):
        with pytest.raises(StanchionError):
            await read(dialect, link, model)
    assert not server.served[0].whole


@pytest.mark.parametrize("case", CASES)
async def test_a_clean_end_without_the_end_of_the_answer_ends_nothing(case: str) -> None:
    dialect, model, key, secret = CASES[case]
    async with (
        upstream(case.split()[0], "One two three four.", key=key, faults=[Fault("no_end")]) as server,
        transport(server, case, secret) as link,
    ):
        steps = await read(dialect, link, model)
    assert "".join(step.text for step in steps if isinstance(step, Words)) == "One two three four."
    assert not [step for step in steps if isinstance(step, Ended)]
