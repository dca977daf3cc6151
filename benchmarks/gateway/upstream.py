"""The model behind everybody: a chat endpoint in OpenAI's shape that answers canned bytes, for next to no CPU.

Run: python benchmarks/gateway/upstream.py. The first part of the path is the milliseconds before an answer:
`/0/v1/chat/completions`, `/20/v1/chat/completions`. A stream is fifty chunks of text, PAUSE seconds apart, then the
reason of the end, the usage and the end mark. A prompt that says CUT gets ten chunks, and the connection is closed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from typing import Any, cast

import uvloop

CHUNKS, PAUSE = 50, 0.004
CUT, CUT_AFTER = b"break off", 10
_USAGE = {"prompt_tokens": 19, "completion_tokens": CHUNKS, "total_tokens": 19 + CHUNKS}
_ABOUT = {"id": "chatcmpl-0", "created": 1_700_000_000, "model": "mock"}
_END = b"0\r\n\r\n"


def _whole() -> bytes:
    message = {"role": "assistant", "content": " ".join(["word"] * CHUNKS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    body = json.dumps({**_ABOUT, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _event(choices: list[dict[str, Any]], **more: object) -> bytes:
    document = {**_ABOUT, "object": "chat.completion.chunk", "choices": choices, **more}
    return _chunk(b"data: %b\n\n" % json.dumps(document).encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _text(word: str) -> bytes:
    return _event([{"index": 0, "delta": {"content": word}, "finish_reason": None}])


WHOLE = _whole()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS = (
    *(_text(f"word{number} ") for number in range(CHUNKS)),
    _event([{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    _event([], usage=_USAGE) + _chunk(b"data: [DONE]\n\n") + _END,
)


class Upstream(asyncio.Protocol):
    """One connection, with one request under way at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, mark, body = self._read.partition(b"\r\n\r\n")
        if not mark:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or b"0")
        if len(body) < length:
            return
        self._read = body[length:]
        milliseconds = int(head.split(b" ", 2)[1].split(b"/", 2)[1])
        streams = b'"stream":true' in body or b'"stream": true' in body
        answer = partial(self._stream, CUT_AFTER if CUT in body else None) if streams else self._whole
        if milliseconds:
            self._loop.call_later(milliseconds / 1000, answer)
        else:
            answer()

    def _whole(self) -> None:
        self._transport.write(WHOLE)

    def _stream(self, cut_after: int | None, number: int = 0) -> None:
        if self._transport.is_closing():
            return
        if number == cut_after:
            self._transport.close()
            return
        self._transport.write(HEAD + EVENTS[0] if number == 0 else EVENTS[number])
        if number + 1 < len(EVENTS):
            self._loop.call_later(PAUSE, self._stream, cut_after, number + 1)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(json.dumps({"event": "ready", "url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve())
        except KeyboardInterrupt:
            sys.exit(0)
