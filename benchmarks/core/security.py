"""What security costs a call, in microseconds of CPU: a decision, a key, a token, a passport, sealing; one JSON line.

Run: python benchmarks/core/security.py. Each figure is the best of five rounds; `ratio` is against HMAC-SHA256 of 64
bytes in the same run, so that machines can be compared.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

from stanchion.core.clock import SystemClock
from stanchion.core.context import Context, Rights
from stanchion.core.contract import Action, methods
from stanchion.core.security.contract import Audit, Keys, Policies
from stanchion.core.security.identity import Authority
from stanchion.core.security.keys import KeyService
from stanchion.core.security.passport import Passports
from stanchion.core.security.policy.service import PolicyService
from stanchion.core.security.signing import Signer, is_signed
from stanchion.core.security.tables import SECURITY_SCHEMA
from stanchion.core.security.vault import MasterKeys, Vault
from stanchion.core.security.verifier import KeyVerifier
from stanchion.core.storage.open import open_database

PREDICT = Action("serving:predict", "read", "Model", "name")
ACTIONS = [PREDICT, *(m.action for contract in (Keys, Policies, Audit) for m in methods(contract))]
CTX = Context(tenant="acme", principal="key:abc", rights=Rights(roles=frozenset({"predictor"})), deadline=1e9)
OWN = 'forbid (principal, action == Action::"serving:predict", resource == Model::"retired");'


def cost(work: Callable[[], object], times: int) -> float:
    rounds = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(times):
            work()
        rounds.append((time.process_time() - started) / times)
    return min(rounds) * 1e6


async def async_cost(work: Callable[[], Awaitable[object]], times: int) -> float:
    rounds = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(times):
            await work()
        rounds.append((time.process_time() - started) / times)
    return min(rounds) * 1e6


async def measured(folder: Path) -> dict[str, float]:
    clock, pepper = SystemClock(), os.urandom(32)
    database = open_database("memory:")
    await database.prepare(SECURITY_SCHEMA)
    policies = PolicyService(database, actions=ACTIONS, clock=clock)
    await policies.refresh()
    admin = Context(tenant="acme", principal="key:root", rights=Rights(roles=frozenset({"admin"})))
    await policies.put(admin, OWN, version=0)
    verifier = KeyVerifier(database, pepper=pepper, clock=clock)
    keys = KeyService(database, verifier=verifier, pepper=pepper, clock=clock)
    secret = (await keys.create(admin, name="benchmark", roles=["predictor"])).secret
    vault = Vault(database, MasterKeys.single(os.urandom(32)), clock=clock)
    sealed = await vault.encrypt("acme", "row", bytes(1024))
    authority = Authority.create("home", now=clock.now())
    here, there = (
        Passports(authority.issue(folder, name, now=clock.now()), clock=clock) for name in ("features", "serving")
    )
    passport = here.issue(CTX, there.identity)
    signer = Signer.generate()
    signature = signer.sign(bytes(64))
    names = count()
    figures = {
        "hmac_64_bytes": cost(lambda: hmac.digest(pepper, bytes(64), "sha256"), 20_000),
        "permits": cost(lambda: policies.permits(CTX, PREDICT, f"m{next(names)}"), 1_000),
        "filter": cost(lambda: policies.filter_for(CTX, PREDICT, "Model"), 200),
        "key_verified": await async_cost(lambda: verifier.verify(secret), 5_000),
        "sealed_1_kib": await async_cost(lambda: vault.encrypt("acme", "row", bytes(1024)), 2_000),
        "opened_1_kib": await async_cost(lambda: vault.decrypt("acme", "row", sealed), 2_000),
        "passport_issued": cost(lambda: here.issue(CTX, there.identity), 500),
        "passport_inspected": cost(lambda: there.inspect(passport, here.identity), 500),
        "signed": cost(lambda: signer.sign(bytes(64)), 1_000),
        "signature_checked": cost(lambda: is_signed(signer.public, bytes(64), signature), 500),
    }
    await database.close()
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measured(Path(folder)))
    base = figures["hmac_64_bytes"]
    result = {name: {"us": round(us, 1), "ratio": round(us / base, 1)} for name, us in figures.items()}
    machine = {"machine": platform.machine(), "python": platform.python_version(), "cpus": os.cpu_count()}
    print(json.dumps({"benchmark": "core/security", **machine, "figures": result}))


if __name__ == "__main__":
    main()
