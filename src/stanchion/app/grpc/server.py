"""Serves the gRPC services of a process's modules: same credential, limits, deadline, gate and ledger as over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import msgspec

from ...core.errors import Misconfigured, NotAuthenticated, StanchionError
from ...core.http.door import problem_of
from ...core.http.limits import MAX_HEADER_BYTES
from ...core.http.routes import Message
from ...core.rpc import RpcMethod, RpcService
from ...core.telemetry.contract import LedgerRow
from ..desk import Desk

PROBLEM = "stanchion-problem-bin"
_STATUS = {
    "invalid_input": grpc.StatusCode.INVALID_ARGUMENT,
    "malformed_request": grpc.StatusCode.INVALID_ARGUMENT,
    "payload_too_large": grpc.StatusCode.INVALID_ARGUMENT,
    "not_authenticated": grpc.StatusCode.UNAUTHENTICATED,
    "not_allowed": grpc.StatusCode.PERMISSION_DENIED,
    "not_found": grpc.StatusCode.NOT_FOUND,
    "conflict": grpc.StatusCode.ABORTED,
    "throttled": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "budget_exceeded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "circuit_open": grpc.StatusCode.UNAVAILABLE,
    "deadline_exceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
}
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The server's certificate chain and its private key, PEM."""

    chain: bytes
    key: bytes

    @classmethod
    def of(cls, chain: Path, key: Path) -> Certificate:
        """Read both files. Raises OSError."""
        return cls(chain.read_bytes(), key.read_bytes())


class GrpcServer:
    """A bound gRPC listener. `start` begins to answer, `stop` lets calls under way finish."""

    def __init__(
        self, services: Sequence[RpcService], desk: Desk, *, host: str, port: int, certificate: Certificate | None
    ) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", desk.limits.body),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", MAX_HEADER_BYTES),
                # Without this a second process would take half of the calls of the first and nobody would notice.
                ("grpc.so_reuseport", 0),
            ]
        )
        self._server.add_generic_rpc_handlers([_handlers(service, desk) for service in services])
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.port = self._bound(address, certificate)
        except RuntimeError as error:
            raise Misconfigured(
                f"cannot listen on {address}: {error}",
                next_step="Stop the program that listens there, or choose another --grpc-port (0: any free one).",
            ) from error

    def _bound(self, address: str, certificate: Certificate | None) -> int:
        if certificate is None:
            return int(self._server.add_insecure_port(address))
        credentials = grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
        return int(self._server.add_secure_port(address, credentials))

    async def start(self) -> None:
        """Begin to answer."""
        await self._server.start()

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and cut off those that are not done after so many seconds."""
        await self._server.stop(seconds)


def _handlers(service: RpcService, desk: Desk) -> Any:
    """What finds the handler of a called method; gRPC answers UNIMPLEMENTED where there is none."""
    found = {method.name: _handler(f"GRPC /{service.name}/{method.name}", method, desk) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.name, found)


def _handler(route: str, method: RpcMethod, desk: Desk) -> Any:
    # Without serializers the library hands bytes through.
    if method.refusal is None:
        return grpc.unary_unary_rpc_method_handler(_unary(route, method, desk))
    return grpc.stream_stream_rpc_method_handler(_stream(route, method, desk, method.refusal))


def _unary(route: str, method: RpcMethod, desk: Desk) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def answer(given: bytes, call: Any) -> bytes:
        row: LedgerRow | None = None
        try:
            async with _message(desk, route, method, call) as message:
                row, message.given = message.row, given
                message.told = told = await method.answer(message.ctx, message.row, given)
            return told
        except StanchionError as error:
            await _abort(call, error, row or desk.anonymous(route))
            raise

    return answer


def _stream(
    route: str, method: RpcMethod, desk: Desk, refusal: Callable[[StanchionError, bytes], bytes]
) -> Callable[[AsyncIterator[bytes], Any], AsyncIterator[bytes]]:
    async def answers(given: AsyncIterator[bytes], call: Any) -> AsyncIterator[bytes]:
        # One message at a time: the client is held back by the transport while one is answered.
        async for asked in given:
            try:
                async with _message(desk, route, method, call) as message:
                    message.given = asked
                    message.told = told = await method.answer(message.ctx, message.row, asked)
            except NotAuthenticated as error:
                await _abort(call, error, desk.anonymous(route))
                raise
            except StanchionError as error:
                told = refusal(error, asked)
            yield told

    return answers


def _message(desk: Desk, route: str, method: RpcMethod, call: Any) -> AbstractAsyncContextManager[Message]:
    metadata = {name: value for name, value in call.invocation_metadata() or () if isinstance(value, str)}
    trace = _TRACEPARENT.fullmatch(metadata.get("traceparent", ""))
    return desk.message(
        route,
        metadata.get("authorization"),
        seconds=call.time_remaining(),
        trace_id=None if trace is None or trace[1] == "0" * 32 else trace[1],
        free=method.open,
    )


async def _abort(call: Any, error: StanchionError, row: LedgerRow) -> None:
    """End the call with the status of the error; the problem document travels in the trailing metadata."""
    document = problem_of(error, row)
    trailing = ((PROBLEM, msgspec.json.encode(document)),)
    await call.abort(_STATUS.get(error.code, grpc.StatusCode.INTERNAL), document["detail"], trailing)
