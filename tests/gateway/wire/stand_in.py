"""A gateway of forms alone behind the official clients: requests are read, and scripted steps are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anthropic
import httpx2
import openai

from stanchion.core.clock import SystemClock
from stanchion.core.errors import StanchionError
from stanchion.gateway.contract.calls import Ask, Shape
from stanchion.gateway.ports import Form
from stanchion.gateway.wire.chat.form import ChatForm
from stanchion.gateway.wire.completions import CompletionsForm
from stanchion.gateway.wire.conversation import Conversation, Step
from stanchion.gateway.wire.faults import error_document
from stanchion.gateway.wire.messages.form import MessagesForm
from stanchion.gateway.wire.peek import Peek
from stanchion.gateway.wire.responses.form import ResponsesForm
from tests.gateway.wire.conversations import together

PATHS: Mapping[str, Shape] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
}
CLOCK = SystemClock()
FORMS: Mapping[Shape, Form] = {
    "chat": ChatForm(CLOCK),
    "completions": CompletionsForm(CLOCK),
    "responses": ResponsesForm(CLOCK),
    "messages": MessagesForm(),
}


class StandIn:
    """Answers each call with the same steps, or with the next of `turns` as long as there are any.

    `asked` is what the calls asked for; `fails` breaks them, a stream `after` so many steps.
    """

    def __init__(
        self,
        steps: Sequence[Step] = (),
        *,
        turns: Sequence[Sequence[Step]] = (),
        fails: StanchionError | None = None,
        after: int | None = None,
    ) -> None:
        self.steps, self.fails, self.after = steps, fails, after
        self._turns = list(turns)
        self.asked: list[Conversation] = []

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        shape = PATHS[request.url.path]
        if self._turns:
            self.steps = self._turns.pop(0)
        form, body = FORMS[shape], request.read()
        peek = Peek(body)
        try:
            if self.fails is not None and self.after is None:
                raise self.fails
            asked = form.parse(Ask(shape, body))
            if not peek.stream:
                whole = form.whole(together(self.steps), asked=asked, model=peek.model)
        except StanchionError as error:
            problem = error.problem(trace_id="t1")
            return httpx2.Response(error.status, json=error_document(shape, problem))
        self.asked.append(asked)
        if not peek.stream:
            return httpx2.Response(200, content=whole, headers={"content-type": "application/json"})
        renderer = form.renderer(asked=asked, model=peek.model)
        data = b"".join(renderer.step(step) for step in self.steps[: self.after])
        data += renderer.end() if self.fails is None else renderer.fail(self.fails.problem(trace_id="t1"))
        return httpx2.Response(200, content=data, headers={"content-type": "text/event-stream"})

    @property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url="http://gateway/v1", **self._options())

    @property
    def anthropic(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url="http://gateway", **self._options())

    def _options(self) -> dict[str, Any]:
        transport = httpx2.MockTransport(self.handle)
        return {"api_key": "k", "max_retries": 0, "http_client": httpx2.Client(transport=transport)}
