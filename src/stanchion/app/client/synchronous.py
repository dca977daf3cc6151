"""The client for programs without an event loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ...core.clock import Clock
from ...core.errors import DeadlineExceeded, InvalidInput, StanchionError, Unavailable, from_problem
from ...core.resilience import RetryRules
from .batching import ThreadBatching
from .calls import Call, Events, Policy, Priority, Tries, Wanted, address, decoded, failure, missing, plain, trust
from .outcomes import Outcome, Outcomes, Refused, one, refused_alone, several, streamed
from .records import MODELS, noted, served, truth

if TYPE_CHECKING:
    import ssl

    import httpx2
    from pydantic import BaseModel

    from ...serving import Noted, ServedModel

T = TypeVar("T")
_PREDICT, _STREAM = "/v1/predictions", "/v1/predictions/stream"


class Client:
    """Calls a running system. Use it in a `with`, or `close` it; one client may serve several threads.

    `key` is an API key; it is never sent unencrypted to another machine unless `insecure` says so. `timeout` is the
    seconds that a call may take with all its retries; the server is told and stops too. `authority` is a PEM file with
    the certificate authority of the server, if the system does not know it. Every error is a StanchionError.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 30.0,
        retries: RetryRules | None = None,
        authority: str | Path | ssl.SSLContext | None = None,
        insecure: bool = False,
        transport: httpx2.BaseTransport | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        try:
            import httpx2
        except ModuleNotFoundError as error:
            raise missing(error) from error
        self._library = httpx2
        self._timeout = timeout
        self._policy = Policy(retries, clock=clock)
        self._sleep = sleep
        self._http = httpx2.Client(
            base_url=address(url, key=key, insecure=insecure),
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            verify=trust(authority),
            transport=transport,
            timeout=None,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @overload
    def predict(
        self,
        model: str,
        item: BaseModel | Mapping[str, Any],
        *,
        into: type[T],
        explain: bool = ...,
        priority: Priority = ...,
        unit: str = ...,
        timeout: float | None = ...,
    ) -> Outcome[T]: ...

    @overload
    def predict(
        self,
        model: str,
        item: BaseModel | Mapping[str, Any],
        *,
        into: None = ...,
        explain: bool = ...,
        priority: Priority = ...,
        unit: str = ...,
        timeout: float | None = ...,
    ) -> Outcome[Mapping[str, Any]]: ...

    def predict(
        self,
        model: str,
        item: BaseModel | Mapping[str, Any],
        *,
        into: type[Any] | None = None,
        explain: bool = False,
        priority: Priority = "normal",
        unit: str = "",
        timeout: float | None = None,
    ) -> Outcome[Any]:
        """The outcome for one instance, as `into` (a pydantic model, dataclass or struct) or as a mapping.

        `explain` asks for the milliseconds of each stage, `unit` keeps a traffic split on one side. Raises what the
        server says: InvalidInput with the paths of faulty fields, NotFound, NotAllowed, Unavailable; and
        DeadlineExceeded.
        """
        body = Wanted(explain, priority, unit).body(model, features=plain(item))
        return one(decoded(self._sent(Call("POST", _PREDICT, body), timeout)), into)

    @overload
    def predict_many(
        self,
        model: str,
        items: Sequence[BaseModel | Mapping[str, Any]],
        *,
        into: type[T],
        explain: bool = ...,
        priority: Priority = ...,
        unit: str = ...,
        timeout: float | None = ...,
    ) -> Outcomes[T]: ...

    @overload
    def predict_many(
        self,
        model: str,
        items: Sequence[BaseModel | Mapping[str, Any]],
        *,
        into: None = ...,
        explain: bool = ...,
        priority: Priority = ...,
        unit: str = ...,
        timeout: float | None = ...,
    ) -> Outcomes[Mapping[str, Any]]: ...

    def predict_many(
        self,
        model: str,
        items: Sequence[BaseModel | Mapping[str, Any]],
        *,
        into: type[Any] | None = None,
        explain: bool = False,
        priority: Priority = "normal",
        unit: str = "",
        timeout: float | None = None,
    ) -> Outcomes[Any]:
        """The outcomes for 1 to 10,000 instances in one request; a faulty one is Refused and the others answered.

        Raises what `predict` raises where the whole call fails.
        """
        body = Wanted(explain, priority, unit).body(model, instances=[plain(each) for each in items])
        try:
            return several(decoded(self._sent(Call("POST", _PREDICT, body), timeout)), into)
        except InvalidInput as error:
            return refused_alone(error, len(items))

    @overload
    def stream(
        self,
        model: str,
        items: Sequence[BaseModel | Mapping[str, Any]],
        *,
        into: type[T],
        timeout: float | None = ...,
    ) -> Iterator[Outcome[T] | Refused]: ...

    @overload
    def stream(
        self,
        model: str,
        items: Sequence[BaseModel | Mapping[str, Any]],
        *,
        into: None = ...,
        timeout: float | None = ...,
    ) -> Iterator[Outcome[Mapping[str, Any]] | Refused]: ...

    def stream(
        self,
        model: str,
        items: Sequence[BaseModel | Mapping[str, Any]],
        *,
        into: type[Any] | None = None,
        timeout: float | None = None,
    ) -> Iterator[Outcome[Any] | Refused]:
        """Each instance's outcome as soon as it is ready, in that order; `index` is its place among the items.

        What ends the stream early is raised: the server's error, or Unavailable if it broke off.
        """
        body = Wanted().body(model, instances=[plain(each) for each in items])
        tries = Tries(self._policy, timeout or self._timeout)
        while True:
            begun = False
            try:
                with closing(self._streamed(Call("POST", _STREAM, body), tries, into)) as outcomes:
                    for outcome in outcomes:
                        begun = True
                        yield outcome
                return
            except StanchionError as error:
                if begun:
                    raise
                wait = tries.wait(error)
            self._sleep(wait)

    def batching(
        self, model: str, *, size: int = 64, wait_ms: float = 5.0, into: type[T] | None = None
    ) -> ThreadBatching[T]:
        """Collects what several threads ask of one model and sends it together; use it in a `with`."""
        return ThreadBatching(self, model, size=size, wait_ms=wait_ms, into=into)

    def feedback(
        self,
        prediction: Outcome[Any] | str,
        *,
        label: float | str | bool | None = None,
        outcome: float | None = None,
        metric: str = "outcome",
        timeout: float | None = None,
    ) -> Noted:
        """Tell what became of a prediction, by its outcome or its request id; telling it again changes nothing.

        `label` is what was true, `outcome` a business number named by `metric`. Raises what the server says of it,
        such as NotFound for a request that was not kept.
        """
        return noted(self._sent(truth(prediction, label, outcome, metric), timeout))

    def models(self, *, timeout: float | None = None) -> Sequence[ServedModel]:
        """What is served, by name."""
        return served(self._sent(MODELS, timeout))

    def _sent(self, call: Call, timeout: float | None) -> bytes:
        tries = Tries(self._policy, timeout or self._timeout)
        while True:
            try:
                answer = self._asked(call, tries)
                if answer.is_success:
                    return answer.content
                raise failure(answer.status_code, answer.headers, answer.content)
            except StanchionError as error:
                wait = tries.wait(error)
            self._sleep(wait)

    def _asked(self, call: Call, tries: Tries) -> httpx2.Response:
        try:
            return self._http.request(
                call.method, call.path, content=call.body, headers=tries.headers(call), timeout=tries.patience()
            )
        except self._library.TimeoutException as error:
            raise DeadlineExceeded("the server did not answer within the client's time limit") from error
        except self._library.TransportError as error:
            raise Unavailable(f"the server cannot be reached: {type(error).__name__}") from error

    def _streamed(self, call: Call, tries: Tries, into: type[Any] | None) -> Generator[Any, None, None]:
        events = Events()
        try:
            with self._http.stream(
                call.method, call.path, content=call.body, headers=tries.headers(call), timeout=tries.patience()
            ) as answer:
                if not answer.is_success:
                    raise failure(answer.status_code, answer.headers, answer.read())
                trace_id = answer.headers.get("x-trace-id", "")
                for piece in answer.iter_bytes():
                    for name, data in events.fed(piece):
                        if name == "end":
                            return
                        if name == "error":
                            raise from_problem(data)
                        yield streamed(data, trace_id, into)
        except self._library.TimeoutException as error:
            raise DeadlineExceeded("the server did not answer within the client's time limit") from error
        except self._library.TransportError as error:
            raise Unavailable(f"the stream broke off: {type(error).__name__}") from error
        raise Unavailable("the stream broke off before its end")
