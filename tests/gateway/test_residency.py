"""Where sensitive data went, proven from both sides: what the cloud heard, and what the audit log says."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from stanchion.core.context import Sensitivity
from stanchion.core.errors import NotAllowed
from stanchion.core.security.contract import Audit
from stanchion.gateway import Ask, Gateway
from stanchion.system import System
from stanchion.testing import offline
from stanchion.testing.upstreams import upstream

CALLS = 1000
# One secret of each kind, with a number in it so that none is like another.
KINDS = {
    "public": lambda n: f"public note {n}",
    "internal": lambda n: f"internal note {n}",
    "email": lambda n: f"person{n}@customer.example",
    "card": lambda n: _card(n),
    "secret": lambda n: f"sk-{n:024d}abcdef",
    "declared": lambda n: f"merger plan {n}",
    "labelled": lambda n: f"salary sheet {n}",
}


def _card(number: int) -> str:
    from stdnum import luhn

    digits = f"4{number:014d}"
    return digits + str(luhn.calc_check_digit(digits))


async def test_none_of_a_thousand_mixed_calls_takes_restricted_data_to_the_cloud() -> None:
    chance = random.Random(11)
    async with upstream("openai", "Noted.") as cloud, upstream("openai", "Noted here.") as home:
        app = System("residency")
        far = app.upstream("cloud", kind="openai", url=cloud.url + "/v1", region="us-east-1")
        near = app.upstream("home", kind="vllm", url=home.url + "/v1", on_premises=True)
        app.language_model("big", upstream=far, input_price="1", output_price="2")
        app.language_model("own", upstream=near)
        app.route("notes", primary="big", fallbacks=["own"])
        app.privacy(ask={"email": "tokenise"})
        async with offline(app) as running:
            gateway = running.door(Gateway)
            sent: Counter[str] = Counter()
            canaries: dict[str, list[str]] = {kind: [] for kind in KINDS}
            for number in range(CALLS):
                kind = chance.choice(sorted(KINDS))
                canary = KINDS[kind](number)
                canaries[kind].append(canary)
                body = {"model": "route:notes", "messages": [{"role": "user", "content": f"Keep this: {canary}."}]}
                tags = {"sensitivity": "restricted"} if kind == "declared" else {}
                ctx = running.ctx.labelled("confidential") if kind == "labelled" else running.ctx
                reply = await gateway.complete(ctx, Ask("chat", json.dumps(body).encode(), tags=tags))
                sent[f"{kind} {reply.account.upstream}"] += 1
            away = b"\n".join(call.raw for call in cloud.calls).decode()
            kept = b"\n".join(call.raw for call in home.calls).decode()
            for kind in ("card", "secret", "declared", "labelled"):
                assert not [canary for canary in canaries[kind] if canary in away], kind
                assert all(canary in kept for canary in canaries[kind]), kind
                assert sent[f"{kind} home"] == len(canaries[kind])
            # Tokens stand for addresses wherever they go; the rest may go, and goes where it is meant to.
            assert not [canary for canary in canaries["email"] if canary in away + kept]
            for kind in ("public", "internal", "email"):
                assert sent[f"{kind} cloud"] == len(canaries[kind])
            events = await _events(running.door(Audit), running.ctx, "gateway:place")
            guarded = sum(len(canaries[kind]) for kind in ("card", "secret", "declared", "labelled"))
            assert len(events) == guarded
            assert {(each.resource, each.facts["place"]) for each in events} == {("Upstream::home", "on_premises")}
            assert (await running.door(Audit).verify(running.ctx)).ok


async def _events(audit: Audit, ctx: Any, action: str) -> list[Any]:
    found: list[Any] = []
    while page := await audit.events(ctx, action=action, before=found[-1].seq if found else None):
        found += page
    return found


@pytest.mark.parametrize("label", ["restricted", "confidential"])
async def test_without_any_rules_labelled_data_stays_and_a_call_without_a_place_is_refused(
    label: Sensitivity,
) -> None:
    async with upstream("openai", "Noted.") as cloud:
        app = System("residency")
        app.language_model("big", upstream=app.upstream("cloud", kind="openai", url=cloud.url + "/v1"))
        async with offline(app) as running:
            body = json.dumps({"model": "big", "messages": [{"role": "user", "content": "plans"}]}).encode()
            with pytest.raises(NotAllowed, match="stays on premises"):
                await running.door(Gateway).complete(running.ctx.labelled(label), Ask("chat", body))
            assert cloud.calls == []
            [event] = await _events(running.door(Audit), running.ctx, "gateway:keep")
            assert event.facts["label"] == label
            await running.door(Gateway).complete(running.ctx, Ask("chat", body))
            assert len(cloud.calls) == 1
