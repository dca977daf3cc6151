"""Hands `calls.jsonl` in as a batch, with scripted servers in place of two providers, and reads what became of it."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stanchion.core.context import Context
from stanchion.core.declaration import load_declarations
from stanchion.gateway import CallBatchOrder, Gateway
from stanchion.testing import offline
from stanchion.testing.upstreams import upstream

HERE = Path(__file__).parent
ENDED = ("completed", "failed", "expired", "cancelled")


async def main() -> list[str]:
    """The batch's state, a line for each of its calls, and what they cost together."""
    async with upstream("openai", "scripted: 30 days") as first, upstream("anthropic", "scripted: at nine") as second:
        os.environ["FIRST_URL"], os.environ["SECOND_URL"] = first.url + "/v1", second.url
        app = load_declarations(HERE / "system.py")
        async with offline(app) as running:
            gateway, ctx = running.door(Gateway), running.ctx
            file = await gateway.add_file(ctx, "calls.jsonl", (HERE / "calls.jsonl").read_bytes())
            order = CallBatchOrder(file.id, "/v1/chat/completions", tags={"job": "questions"})
            batch = await gateway.create_batch(ctx, order)
            while batch.state not in ENDED:
                await asyncio.sleep(0.1)
                batch = await gateway.batch(ctx, batch.id)
            lines = [f"{batch.state}: {batch.completed} answered, {batch.failed} refused"]
            for result in (batch.output_file, batch.error_file):
                lines += await told(gateway, ctx, result)
            today = datetime.now(UTC).date()
            tomorrow = today + timedelta(days=1)
            used = await gateway.usage(ctx, start=today - timedelta(days=1), end=tomorrow, by=("tag",), tag="job")
            return [*lines, *(f"job {each.group['tag']}: ${each.cost / 10**12:.6f}" for each in used)]


async def told(gateway: Gateway, ctx: Context, file: str) -> list[str]:
    """A line for each call of a file of results."""
    lines = []
    for row in b"".join([part async for part in gateway.file_content(ctx, file)]).splitlines():
        found = json.loads(row)
        response = found["response"]
        if found["error"]:
            lines.append(f"  {found['custom_id']}: {response['status_code']} {found['error']['code']}")
        else:
            lines.append(f"  {found['custom_id']}: {response['body']['choices'][0]['message']['content']}")
    return lines


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
