"""The client's side of the Responses API: requests in, answers out; streams are beside."""

from __future__ import annotations

import msgspec

from ....core.clock import Clock
from ...contract.calls import Ask
from ..conversation import Answer, Conversation
from ..reading import Fields
from .document import items, response
from .request import conversation_of
from .stream import ResponsesRenderer


class ResponsesForm:
    """The Responses API for clients."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def parse(self, ask: Ask) -> Conversation:
        """Raises InvalidInput with the field's path."""
        return conversation_of(Fields.of(ask.body))

    def whole(self, answer: Answer, *, asked: Conversation, model: str) -> bytes:
        """The answer as one `response`."""
        logprobs = answer.logprobs if asked.logprobs is not None else None
        written = response(
            asked,
            answer_id=answer.id,
            model=model,
            created=self._now(),
            output=items(answer.id, answer.parts, answer.stop, logprobs),
            stop=answer.stop,
            usage=answer.usage,
        )
        return msgspec.json.encode(written)

    def renderer(self, *, asked: Conversation, model: str) -> ResponsesRenderer:
        """For one streamed answer."""
        return ResponsesRenderer(asked, model, self._now())

    def _now(self) -> int:
        return int(self._clock.now().timestamp())
