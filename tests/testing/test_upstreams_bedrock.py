"""AWS's own client, unmodified, takes what the scripted Bedrock sends, and its signature is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from stanchion.testing.upstreams import Fault, Reply, SigningKey, ToolCall, Upstream, Usage, upstream

T = TypeVar("T")
KEY = SigningKey("AKID", "s3cr3t/+", "eu-west-1", "session-token")
MODEL = "eu.anthropic.claude-sonnet-4-v1:0"
ASKED: dict[str, Any] = {
    "modelId": MODEL,
    "messages": [
        {
            "role": "user",
            "content": [{"text": "Weather?"}, {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}],
        }
    ],
    "inferenceConfig": {"maxTokens": 50, "temperature": 0.5},
    "toolConfig": {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]},
}
REPLY = Reply(
    "Let me see.",
    thinking="Which city?",
    signature="c2ln",
    calls=[ToolCall("weather", {"city": "Oslo"}), ToolCall("weather")],
    usage=Usage(tokens_in=100, tokens_out=40, cached=60, cache_writes=10),
)


async def asked(server: Upstream, work: Callable[[Any], T], *, secret: str = KEY.secret) -> T:
    """Do some work with AWS's client on a thread of its own: it blocks."""

    def run() -> T:
        client = boto3.client(
            "bedrock-runtime",
            region_name=KEY.region,
            endpoint_url=server.url,
            aws_access_key_id=KEY.id,
            aws_secret_access_key=secret,
            aws_session_token=KEY.token,
            config=Config(retries={"total_max_attempts": 1}),
        )
        try:
            return work(client)
        finally:
            client.close()

    return await asyncio.to_thread(run)


def streamed(client: Any) -> list[dict[str, Any]]:
    return list(client.converse_stream(**ASKED)["stream"])


async def test_a_whole_answer_is_read() -> None:
    async with upstream("bedrock", REPLY, key=KEY) as server:
        answer = await asked(server, lambda client: client.converse(**ASKED))
    thought, text, call, bare = answer["output"]["message"]["content"]
    assert thought["reasoningContent"]["reasoningText"] == {"text": "Which city?", "signature": "c2ln"}
    assert text == {"text": "Let me see."}
    assert call["toolUse"]["input"] == {"city": "Oslo"}
    assert bare["toolUse"]["input"] == {}
    assert answer["stopReason"] == "tool_use"
    assert (answer["usage"]["inputTokens"], answer["usage"]["totalTokens"]) == (30, 140)
    assert (server.calls[0].model, server.calls[0].prompt) == (MODEL, "Weather?")


async def test_a_stream_is_read() -> None:
    async with upstream("bedrock", REPLY, key=KEY) as server:
        events = await asked(server, streamed)
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    assert "".join(delta.get("text", "") for delta in deltas) == "Let me see."
    assert "".join(delta.get("toolUse", {}).get("input", "") for delta in deltas) == '{"city": "Oslo"}{}'
    assert events[-2]["messageStop"]["stopReason"] == "tool_use"
    assert events[-1]["metadata"]["usage"]["cacheReadInputTokens"] == 60


async def test_a_wrong_signature_is_refused() -> None:
    async with upstream("bedrock", REPLY, key=KEY) as server:
        with pytest.raises(ClientError) as error:
            await asked(server, lambda client: client.converse(**ASKED), secret="another")
    assert error.value.response["Error"]["Code"] == "AccessDeniedException"


async def test_errors_are_told_before_and_within_a_stream() -> None:
    async with upstream("bedrock", REPLY, faults=[Fault("throttled"), Fault("error_in_stream")]) as server:
        with pytest.raises(ClientError) as early:
            await asked(server, streamed)
        with pytest.raises(EventStreamError) as late:
            await asked(server, streamed)
    assert early.value.response["Error"]["Code"] == "ThrottlingException"
    assert late.value.response["Error"]["Code"] == "throttlingException"
