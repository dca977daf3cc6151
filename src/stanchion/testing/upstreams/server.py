"""The loopback server behind `upstream`: it reads a call, draws a fault, and sends what the script says."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Literal, assert_never

from aiohttp import web

from stanchion.core.clock import Clock, SystemClock

from .families.anthropic import Anthropic
from .families.bedrock import Bedrock
from .families.family import Family, Refusal, SigningKey, Target
from .families.gemini import Gemini
from .families.openai import OpenAI
from .script import Call, Fault, Faults, Reply, Says, Script, Served
from .sending import Line
from .words import counted, named

FamilyName = Literal["openai", "anthropic", "gemini", "bedrock"]
LARGEST = 256 << 20
STATUS = {"throttled": 429, "failed": 500, "overloaded": 529}
LATE_ONLY = ("latency", "slow_first_byte")


class Upstream:
    """A scripted upstream that runs. `script` and `faults` may be set anew while it does."""

    def __init__(self, family: Family, script: Script, faults: Faults, seed: int, clock: Clock) -> None:
        self.script = script
        self.faults = faults
        self.url = ""
        self.calls: list[Call] = []
        """Every request that was JSON for a known path, refused ones too, in order of arrival."""
        self.served: list[Served] = []
        """What it would bill: each answer that was begun."""
        self.refused: list[tuple[Call, str]] = []
        """Requests that the provider would not take, and why."""
        self.errors: list[Exception] = []
        """What a function of the script has raised; its callers were answered 500."""
        self._family = family
        self._key: str | SigningKey | None = None
        self._seed = seed
        self._clock = clock
        self._drawn = 0
        self._said = 0
        self._lines: set[Line] = set()

    @property
    def key(self) -> str | SigningKey | None:
        """What a caller must show; anybody may call where it is None."""
        return self._key

    @key.setter
    def key(self, key: str | SigningKey | None) -> None:
        self._key = key

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        line = Line(request, self._family)
        self._lines.add(line)
        try:
            return await self._answer(request, line)
        finally:
            self._lines.discard(line)

    def stop(self) -> None:
        """Let go of the calls that hang."""
        for line in self._lines:
            line.stopped.set()

    async def _answer(self, request: web.Request, line: Line) -> web.StreamResponse:
        path = request.rel_url.raw_path
        target = self._family.target(request.method, path)
        if target is None:
            return await line.refuse(self._family.refusal(404, f"there is no {request.method} {path} here"))
        raw = await request.read()
        try:
            call = self._read(request, target, raw)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            return await line.refuse(self._family.refusal(400, f"the body is no request: {error}"))
        self.calls.append(call)
        refusal = self._refusal(call)
        if refusal is not None:
            return await line.refuse(refusal)
        fault = self._fault()
        if fault is not None and fault.kind in STATUS:
            return await line.refuse(self._told(fault))
        if fault is not None and await line.spoiled(fault):
            return line.gone()
        try:
            reply = await self._reply(call, uses_up=fault is None or fault.kind in LATE_ONLY)
        except Exception as error:
            # The caller may well have another upstream to turn to: the test hears of it at the end.
            self.errors.append(error)
            return await line.refuse(self._family.refusal(500, f"the script failed: {error!r}"))
        if reply is None:
            return await line.refuse(self._family.refusal(500, "the script has no more replies"))
        return await line.answer(call, reply, counted(reply, call.body), fault, self.served)

    def _read(self, request: web.Request, target: Target, raw: bytes) -> Call:
        body = json.loads(raw) if raw else {}
        stream = bool(body.get("stream")) if target.stream is None else target.stream
        model = str(body["model"]) if target.model is None else target.model
        try:
            prompt = self._family.prompt(target.kind, body)
        except (ValueError, TypeError, LookupError, AttributeError):
            # The strict reading names the fault.
            prompt = ""
        return Call(
            number=len(self.calls),
            kind=target.kind,
            model=model,
            stream=stream,
            prompt=prompt,
            method=request.method,
            path=request.rel_url.raw_path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            raw=raw,
            body=body,
            at=self._clock.now(),
        )

    def _refusal(self, call: Call) -> Refusal | None:
        """What the provider itself would refuse the call with."""
        if self._key is not None and not self._family.authorised(call, self._key):
            self.refused.append((call, "the key is missing or wrong"))
            return self._family.refusal(401, "the key is missing or wrong")
        problem = self._family.problem(call)
        if problem:
            self.refused.append((call, problem))
            return self._family.refusal(400, problem)
        return None

    def _told(self, fault: Fault) -> Refusal:
        refusal = self._family.refusal(STATUS[fault.kind], f"scripted: {fault.kind}")
        if fault.retry_after is None:
            return refusal
        return Refusal(refusal.status, refusal.body, {**refusal.headers, "retry-after": f"{fault.retry_after:g}"})

    def _fault(self) -> Fault | None:
        number, self._drawn = self._drawn, self._drawn + 1
        if not isinstance(self.faults, Mapping):
            return self.faults[number] if number < len(self.faults) else None
        drawn = _chance(self._seed, number)
        bounds = accumulate(self.faults.values())
        return next((fault for fault, bound in zip(self.faults, bounds, strict=True) if drawn < bound), None)

    async def _reply(self, call: Call, *, uses_up: bool) -> Reply | None:
        """None behind the end of a list."""
        script = self.script
        says: Says
        if callable(script):
            made = script(call)
            says = await made if inspect.isawaitable(made) else made
        elif isinstance(script, str | Reply):
            says = script
        elif call.kind in ("embeddings", "rerank", "models", "tokens"):
            says = ""
        elif self._said >= len(script):
            return None
        else:
            says = script[self._said]
            self._said += uses_up
        return named(says if isinstance(says, Reply) else Reply(says), f"call_{call.number}_")


@asynccontextmanager
async def upstream(
    family: FamilyName,
    script: Script = "A scripted answer.",
    *,
    faults: Faults = (),
    seed: int = 0,
    key: str | SigningKey | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Upstream]:
    """A server on this machine, at a free port, that answers as a provider does, whole and streamed.

    `url` of what it gives is the part before `/v1`, `/v1beta` or `/model`. A request that the provider would refuse
    is refused, and so is one without the `key`, if there is one. `seed` makes faults by probability repeatable.
    What a function of the script raises, such as a failed assertion, is raised again when the block ends.

    >>> import asyncio
    >>> from aiohttp import ClientSession
    >>> from stanchion.testing.upstreams import upstream
    >>> async def ask() -> str:
    ...     async with upstream("openai", ["Good morning."]) as server, ClientSession() as client:
    ...         body = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
    ...         async with client.post(f"{server.url}/v1/chat/completions", json=body) as answer:
    ...             return (await answer.json())["choices"][0]["message"]["content"]
    >>> asyncio.run(ask())
    'Good morning.'
    """
    _check(faults)
    server = Upstream(_family(family), script, faults, seed, clock or SystemClock())
    server.key = key
    app = web.Application(client_max_size=LARGEST)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        server.stop()
        await runner.cleanup()
    if server.errors:
        raise server.errors[0]


def _check(faults: Faults) -> None:
    if isinstance(faults, Mapping) and (sum(faults.values()) > 1 + 1e-9 or min(faults.values(), default=0) < 0):
        raise ValueError("the probabilities of the faults are from 0 to 1, and together at most 1")


def _chance(seed: int, number: int) -> float:
    """A number from 0 to 1 that hangs on the seed and the call's number alone, whatever order the answers have."""
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)


def _family(name: FamilyName) -> Family:
    match name:
        case "openai":
            return OpenAI()
        case "anthropic":
            return Anthropic()
        case "gemini":
            return Gemini()
        case "bedrock":
            return Bedrock()
        case _:
            assert_never(name)
