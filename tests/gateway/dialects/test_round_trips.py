"""Any conversation goes through a dialect and back by the form of its shape; any answer the other way."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.clock import SystemClock
from stanchion.gateway.contract.calls import Ask
from stanchion.gateway.dialects.anthropic import AnthropicDialect
from stanchion.gateway.dialects.openai import OpenAIDialect
from stanchion.gateway.ports import Dialect, Form
from stanchion.gateway.wire.chat.form import ChatForm
from stanchion.gateway.wire.conversation import Answer, Conversation, Format, Step, Text, Thinking, Turn
from stanchion.gateway.wire.messages.form import MessagesForm
from tests.gateway.wire.conversations import answers, conversations, streamed, together

CHAT: Form = ChatForm(SystemClock())
MESSAGES: Form = MessagesForm()
OPENAI, ANTHROPIC = OpenAIDialect(), AnthropicDialect()
ASKED = Conversation(turns=(Turn("user", (Text("hi"),)),), usage_in_stream=True)


def _through(form: Form, dialect: Dialect, asked: Conversation) -> Conversation:
    shape: Any = "chat" if form is CHAT else "messages"
    return form.parse(Ask(shape, dialect.request(asked, "m").body))


@given(conversations())
def test_a_conversation_survives_chat_completions(asked: Conversation) -> None:
    assert _through(CHAT, OPENAI, asked) == replace(asked, usage_in_stream=asked.stream)


@given(conversations(thinking=True))
def test_a_conversation_survives_messages(asked: Conversation) -> None:
    form = asked.format and Format(schema=asked.format.schema)
    assert _through(MESSAGES, ANTHROPIC, asked) == replace(asked, usage_in_stream=True, format=form)


@given(conversations(thinking=True))
def test_a_conversation_of_messages_reaches_chat_completions_whole(asked: Conversation) -> None:
    sent = _through(CHAT, OPENAI, _through(MESSAGES, ANTHROPIC, asked))
    unsigned = tuple(
        Turn(turn.role, tuple(part for part in turn.parts if not isinstance(part, Thinking))) for turn in asked.turns
    )
    assert (sent.turns, sent.tools, sent.choice) == (unsigned, asked.tools, asked.choice)


@given(conversations())
def test_a_conversation_of_chat_completions_reaches_messages_whole(asked: Conversation) -> None:
    sent = _through(MESSAGES, ANTHROPIC, _through(CHAT, OPENAI, asked))
    assert (sent.turns, sent.tools, sent.choice) == (asked.turns, asked.tools, asked.choice)


@given(answers())
def test_a_whole_answer_survives_chat_completions(answer: Answer) -> None:
    assert OPENAI.answer(CHAT.whole(answer, asked=ASKED, model="named")) == answer


@given(answers(signed=True))
def test_a_whole_answer_survives_messages(answer: Answer) -> None:
    kept = replace(answer, stop="refusal") if answer.stop == "content_filter" else answer
    assert ANTHROPIC.answer(MESSAGES.whole(answer, asked=ASKED, model="named")) == kept


def _read(dialect: Dialect, data: bytes, cuts: list[int]) -> list[Step]:
    reader = dialect.reader()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    steps = [step for a, b in pairwise(places) for step in reader.feed(data[a:b])]
    return [*steps, *reader.close()]


@given(st.data(), answers(), st.lists(st.integers(0, 1 << 16), max_size=8))
def test_a_streamed_answer_survives_chat_completions(data: st.DataObject, answer: Answer, cuts: list[int]) -> None:
    renderer = CHAT.renderer(asked=ASKED, model="named")
    written = b"".join(renderer.step(step) for step in data.draw(streamed(answer))) + renderer.end()
    assert together(_read(OPENAI, written, cuts)) == answer


@given(st.data(), answers(signed=True), st.lists(st.integers(0, 1 << 16), max_size=8))
def test_a_streamed_answer_survives_messages(data: st.DataObject, answer: Answer, cuts: list[int]) -> None:
    renderer = MESSAGES.renderer(asked=ASKED, model="named")
    written = b"".join(renderer.step(step) for step in data.draw(streamed(answer))) + renderer.end()
    kept = replace(answer, stop="refusal") if answer.stop == "content_filter" else answer
    assert together(_read(ANTHROPIC, written, cuts)) == kept


@pytest.mark.parametrize(("form", "dialect"), [(CHAT, OPENAI), (MESSAGES, ANTHROPIC)], ids=["chat", "messages"])
@given(data=st.data())
def test_every_cut_of_a_stream_gives_the_same_steps(form: Form, dialect: Dialect, data: st.DataObject) -> None:
    renderer = form.renderer(asked=ASKED, model="named")
    steps = data.draw(streamed(data.draw(answers())))
    written = b"".join(renderer.step(step) for step in steps) + renderer.end()
    wanted = _read(dialect, written, [])
    cut = data.draw(st.integers(0, len(written)))
    assert _read(dialect, written, [cut]) == wanted
    assert _read(dialect, written, list(range(len(written)))) == wanted
