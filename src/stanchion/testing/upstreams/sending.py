"""One call's connection: what is sent on it, and every way to break it off."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from .families.family import Events, Family, Refusal
from .script import Call, Fault, Reply, Served, Usage
from .words import part

PAGE = "<!doctype html><html><body><h1>Bad gateway</h1></body></html>"


class Line:
    """The connection of one call."""

    def __init__(self, request: web.Request, family: Family) -> None:
        self.stopped = asyncio.Event()
        self._request = request
        self._family = family

    async def refuse(self, refusal: Refusal) -> web.StreamResponse:
        """An error document."""
        return web.json_response(refusal.body, status=refusal.status, headers=dict(refusal.headers))

    async def spoiled(self, fault: Fault) -> bool:
        """Whether the fault leaves no call to answer. A late answer is late from here on."""
        if fault.kind == "latency":
            await self._pause(fault.seconds)
        elif fault.kind == "hang":
            await self.stopped.wait()
            self._reset()
        elif fault.kind == "reset":
            self._reset()
        return fault.kind in ("hang", "reset")

    def gone(self) -> web.StreamResponse:
        """What the server framework is given for a connection that is no more."""
        return web.Response(status=500)

    async def answer(
        self, call: Call, reply: Reply, usage: Usage, fault: Fault | None, served: list[Served]
    ) -> web.StreamResponse:
        """Send the reply, or what the fault leaves of it, and write down what is billed."""
        if fault is not None and fault.kind == "content_type":
            return web.Response(text=PAGE, content_type="text/html")
        if fault is not None and fault.kind == "error_in_stream" and not call.stream:
            return await self.refuse(self._family.refusal(500, "scripted: error_in_stream"))
        if call.kind == "models":
            return web.json_response(self._family.whole(call, reply, usage))
        served.append(Served(call, reply.model or call.model, part(usage, 0, 1), whole=False))
        bill = _Bill(served, len(served) - 1, usage)
        return await (self._stream if call.stream else self._whole)(call, reply, bill, fault)

    async def _whole(self, call: Call, reply: Reply, bill: _Bill, fault: Fault | None) -> web.StreamResponse:
        if reply.wait is not None:
            await reply.wait(0)
        body = json.dumps(self._family.whole(call, reply, bill.usage), ensure_ascii=False).encode()
        kind = fault.kind if fault is not None else None
        unreadable = body[:-1] + b',"x'
        spoiled = {"no_end": body[: len(body) // 2], "malformed": unreadable, "garbled": unreadable}
        sent = spoiled.get(kind or "", body)
        response = web.StreamResponse(headers={"Content-Type": "application/json", **reply.headers})
        response.content_length = len(sent)
        await response.prepare(self._request)
        if kind == "reset_after_head":
            self._reset()
            return response
        if fault is not None and kind == "slow_first_byte":
            await self._pause(fault.seconds)
        bill.sent(1, 1, whole=kind != "cut")
        await response.write(sent[: len(sent) // 2] if kind == "cut" else sent)
        if kind == "cut":
            self._close()
        else:
            await response.write_eof()
        return response

    async def _stream(self, call: Call, reply: Reply, bill: _Bill, fault: Fault | None) -> web.StreamResponse:
        events = self._family.events(call, reply, bill.usage)
        response = web.StreamResponse(headers={"Content-Type": self._family.stream_type, **reply.headers})
        await response.prepare(self._request)
        if fault is not None and fault.kind == "reset_after_head":
            self._reset()
            return response
        if fault is not None and fault.kind == "slow_first_byte":
            await self._pause(fault.seconds)
        # A caller that has gone is no fault of the server's: what was sent stands in the bill.
        with suppress(ConnectionError):
            async for data in self._paced(events, reply, bill, fault):
                await response.write(data)
            if fault is not None and fault.kind == "cut":
                self._close()
            else:
                await response.write_eof()
        return response

    async def _paced(self, events: Events, reply: Reply, bill: _Bill, fault: Fault | None) -> AsyncIterator[bytes]:
        """The events that are sent, each when its time has come."""
        sent, ending = events
        breaks = fault is not None and fault.kind in ("cut", "malformed", "error_in_stream")
        # No fault lets the end through: what it leaves must never be taken for a whole answer.
        most = min(fault.after, ending) if fault is not None and breaks else len(sent)
        if fault is not None and fault.kind == "no_end":
            most = ending
        for number, data in enumerate(sent[:most]):
            if fault is not None and fault.kind == "garbled" and number == min(fault.after, ending - 1):
                yield self._family.malformed()
            if reply.wait is not None:
                await reply.wait(number)
            if number and reply.pace:
                await self._pause(reply.pace)
            bill.sent(number + 1, ending, whole=number + 1 == len(sent))
            yield data
        if fault is not None and fault.kind == "malformed":
            yield self._family.malformed()
        elif fault is not None and fault.kind == "error_in_stream":
            yield self._family.failure("scripted: error_in_stream")

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopped.wait()

    def _close(self) -> None:
        """Close behind what was written."""
        if self._request.transport is not None:
            self._request.transport.close()

    def _reset(self) -> None:
        """Throw the connection away: the caller sees a reset."""
        transport = self._request.transport
        if transport is None:
            return
        link = transport.get_extra_info("socket")
        if link is not None:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class _Bill:
    """What is billed for one answer, brought up to date before each piece is sent."""

    def __init__(self, served: list[Served], place: int, usage: Usage) -> None:
        self.usage = usage
        self._served = served
        self._place = place

    def sent(self, number: int, of: int, *, whole: bool) -> None:
        """So many of the pieces go out now."""
        before = self._served[self._place]
        self._served[self._place] = Served(before.call, before.model, part(self.usage, number, of), whole)
