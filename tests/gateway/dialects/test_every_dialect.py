"""Each dialect against the scripted upstream of its family: what it asks is accepted, and it reads what was said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, StanchionError, Unavailable
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.dialects.anthropic import AnthropicDialect
from stanchion.gateway.dialects.bedrock import BedrockDialect
from stanchion.gateway.dialects.gemini import GeminiDialect
from stanchion.gateway.dialects.openai import OpenAIDialect
from stanchion.gateway.ports import Dialect, Reader, Wire
from stanchion.gateway.wire.conversation import (
    GEMINI,
    Answer,
    Audio,
    Began,
    CallBegan,
    CallPart,
    Choice,
    Conversation,
    Counted,
    Document,
    Ended,
    Format,
    Image,
    Step,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Words,
)
from stanchion.testing.upstreams import Call, Reply
from stanchion.testing.upstreams import ToolCall as Called
from stanchion.testing.upstreams import Usage as Billed
from stanchion.testing.upstreams.families.anthropic import Anthropic
from stanchion.testing.upstreams.families.bedrock import Bedrock
from stanchion.testing.upstreams.families.family import Events, Family
from stanchion.testing.upstreams.families.gemini import Gemini
from stanchion.testing.upstreams.families.openai import OpenAI
from stanchion.testing.upstreams.words import counted, named

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PICTURE = "iVBORw0KGgo="


@dataclass(frozen=True)
class Side:
    """A dialect and the family that it speaks to."""

    dialect: Dialect
    family: Family
    model: str
    base: str = ""

    def call(self, wire: Wire) -> Call:
        """The request as the scripted upstream reads it."""
        path, _, query = (self.base + wire.path).partition("?")
        body = json.loads(wire.body)
        target = self.family.target("POST", path)
        assert target is not None, path
        return Call(
            number=0,
            kind=target.kind,
            model=target.model or body["model"],
            stream=bool(body.get("stream")) if target.stream is None else target.stream,
            prompt=self.family.prompt(target.kind, body),
            method="POST",
            path=path,
            query=dict(pair.split("=") for pair in query.split("&") if pair),
            headers=dict(wire.headers),
            raw=wire.body,
            body=body,
            at=NOW,
        )

    def ask(self, asked: Conversation) -> Call:
        """A request that the family must accept."""
        call = self.call(self.dialect.request(asked, self.model))
        assert self.family.problem(call) == ""
        assert (call.model, call.stream) == (self.model, asked.stream)
        return call

    def whole(self, asked: Conversation, reply: Reply) -> Answer:
        """The reply as a whole answer."""
        call = self.ask(asked)
        document = self.family.whole(call, reply, counted(reply, call.body))
        return self.dialect.answer(json.dumps(document).encode())

    def events(self, asked: Conversation, reply: Reply) -> Events:
        """The reply as a stream."""
        call = self.ask(replace(asked, stream=True))
        return self.family.events(call, reply, counted(reply, call.body))


SIDES = {
    "openai": Side(OpenAIDialect(), OpenAI(), "m", "/v1"),
    "anthropic": Side(AnthropicDialect(), Anthropic(), "m"),
    "gemini": Side(GeminiDialect(), Gemini(), "gemini-3-pro"),
    "bedrock": Side(BedrockDialect(), Bedrock(), "eu.anthropic.claude-sonnet-4-v1:0"),
}


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> Side:
    return SIDES[request.param]


# Conversations

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    str.strip
)
names = st.sampled_from(["weather", "search_all", "add-2"])
arguments = st.dictionaries(words, st.none() | st.booleans() | st.integers(-9, 9) | words | st.lists(words), max_size=3)
texts = words.map(Text)
pictures = st.just(Image(data=PICTURE, media_type="image/png"))
files = words.map(lambda name: Document(PICTURE, "application/pdf", name))
sounds = st.just(Audio("UklGRg==", "wav"))
tools = [
    Tool(name, "A tool.", {"type": "object", "properties": {"x": {"type": "string"}}}) for name in ("weather", "add-2")
]
tools.append(Tool("search_all"))


@st.composite
def turns(draw: st.DrawFn, *, rich: bool) -> list[Turn]:
    """A user and an assistant by turns; each tool call is answered, by the side that answers."""
    made = [Turn("system", (part,)) for part in draw(st.lists(texts, max_size=1))]
    held = st.one_of(texts, pictures, files, sounds) if rich else texts | pictures
    waiting: list[ToolCall] = []
    for number in range(draw(st.integers(1, 3))):
        results = [ToolResult(call.id, draw(st.lists(texts, max_size=2)), draw(st.booleans())) for call in waiting]
        said = draw(st.lists(held, min_size=0 if results else 1, max_size=2))
        made.append(Turn("user", (*results, *said)))
        calls = [
            ToolCall(f"call_{number}_{n}", draw(names), json.dumps(given))
            for n, given in enumerate(draw(st.lists(arguments, max_size=2)))
        ]
        signatures = st.sampled_from(["", "c2ln", GEMINI + "c2ln"])
        thoughts = [Thinking("Hm.", draw(signatures))] if rich and draw(st.booleans()) else []
        spoken = draw(st.lists(texts, min_size=0 if calls else 1, max_size=1))
        made.append(Turn("assistant", (*thoughts, *spoken, *calls)))
        waiting = calls
    last = [ToolResult(call.id, (Text("done"),)) for call in waiting] or [Text("And now?")]
    return [*made, Turn("user", last)]


def used(conversation: Sequence[Turn]) -> bool:
    return any(isinstance(part, ToolCall) for turn in conversation for part in turn.parts)


@st.composite
def conversations(draw: st.DrawFn, *, rich: bool = False) -> Conversation:
    said = draw(turns(rich=rich))
    plain = Conversation(
        turns=said,
        tools=tools if used(said) or draw(st.booleans()) else (),
        most_tokens=draw(st.none() | st.integers(16, 4096)),
        temperature=draw(st.none() | st.floats(0, 2)),
        top_p=draw(st.none() | st.floats(0, 1)),
        stop=draw(st.lists(words, max_size=3)),
        stream=draw(st.booleans()),
    )
    if not rich:
        return plain
    modes = [Choice("auto"), Choice("any"), Choice("named", "weather"), Choice("none"), Choice("auto", parallel=False)]
    return replace(
        plain,
        choice=draw(st.none() | st.sampled_from(modes)),
        format=draw(st.sampled_from([None, Format(), Format({"type": "object"}, "city"), Format({}, "any", True)])),
        top_k=draw(st.none() | st.integers(1, 50)),
        seed=draw(st.none() | st.integers(0, 1 << 40)),
        answers=draw(st.integers(1, 2)),
        logprobs=draw(st.none() | st.integers(0, 5)),
        effort=draw(st.sampled_from([None, "none", "minimal", "low", "medium", "high", "max"])),
        user=draw(st.none() | words),
        extra=draw(st.sampled_from([{}, {"metadata": {"a": "b"}}, {"presence_penalty": 0.5}, {"unheard_of": 1}])),
    )


# A test that is given a fixture for each example asks for one parameter, which never changes.
many = settings(max_examples=60)


@pytest.mark.parametrize("name", SIDES)
@many
@given(asked=conversations())
def test_what_every_provider_can_do_is_accepted(name: str, asked: Conversation) -> None:
    SIDES[name].ask(asked)


@pytest.mark.parametrize("name", SIDES)
@many
@given(asked=conversations(rich=True))
def test_what_a_provider_cannot_do_is_refused_before_it_is_asked(name: str, asked: Conversation) -> None:
    try:
        SIDES[name].ask(asked)
    except InvalidInput as error:
        assert error.fields
        assert error.fields[0].path.startswith("$.")


# Answers

ASKED = Conversation(turns=[Turn("user", [Text("What is the weather?")])], tools=tools)
usages = st.builds(
    lambda fresh, cached, writes, out, thought: Billed(fresh + cached + writes, out + thought, cached, writes, thought),
    *[st.integers(0, 1000)] * 5,
)
replies = st.builds(
    Reply,
    text=st.just("") | words,
    thinking=st.just("") | words,
    signature=st.just("c2ln"),
    calls=st.lists(st.builds(Called, names, arguments), max_size=3),
    stop=st.sampled_from([None, "length", "content_filter"]),
    usage=usages,
).filter(lambda reply: reply.text or reply.calls)


def gathered(steps: Iterable[Step]) -> list[Text | Thinking | ToolCall]:
    """The parts that a stream's steps make."""
    parts: list[Any] = []
    for step in steps:
        last = parts[-1] if parts else None
        match step:
            case Words():
                parts[-1:] = [Text(last.text + step.text)] if isinstance(last, Text) else [*parts[-1:], Text(step.text)]
            case Thought() if isinstance(last, Thinking) and not last.signature:
                parts[-1] = Thinking(last.text + step.text, step.signature, step.redacted)
            case Thought():
                parts.append(Thinking(step.text, step.signature, step.redacted))
            case CallBegan():
                parts.append(ToolCall(step.id, step.name, ""))
            case CallPart():
                parts[-1] = replace(last, arguments=last.arguments + step.arguments)
            case Began() | Ended() | Counted():
                pass
    return parts


def read(reader: Reader, pieces: Iterable[bytes]) -> list[Step]:
    return [*(step for piece in pieces for step in reader.feed(piece)), *reader.close()]


def told(parts: Iterable[Any]) -> tuple[str, str, str, list[tuple[str, str, Any]]]:
    """Thoughts, signature, words and calls, wherever they stood."""
    held = list(parts)
    thoughts = [part for part in held if isinstance(part, Thinking)]
    calls = [(part.id, part.name, json.loads(part.arguments)) for part in held if isinstance(part, ToolCall)]
    said = "".join(part.text for part in held if isinstance(part, Text))
    return "".join(t.text for t in thoughts), "".join(t.signature for t in thoughts), said, calls


def expected(name: str, reply: Reply) -> tuple[str, str, str, list[tuple[str, str, Any]]]:
    signature = {"openai": "", "gemini": GEMINI + "c2ln"}.get(name, "c2ln" if reply.thinking else "")
    return reply.thinking, signature, reply.text, [(call.id, call.name, call.arguments) for call in reply.calls]


def billed(name: str, usage: Billed) -> Usage:
    """What of a usage the family's own form can tell."""
    writes = 0 if name == "gemini" else usage.cache_writes
    reasoning = 0 if name == "bedrock" else usage.reasoning
    return Usage(usage.tokens_in, usage.tokens_out, usage.cached, writes, reasoning)


@pytest.mark.parametrize("name", SIDES)
@many
@given(said=replies)
def test_an_answer_comes_back_as_it_was_said(name: str, said: Reply) -> None:
    side, reply = SIDES[name], named(said, "call_")
    answer = side.whole(ASKED, reply)
    assert told(answer.parts) == expected(name, reply)
    assert answer.usage == billed(name, reply.usage)
    assert answer.stop == ENDS.get((name, reply.stop), reply.stop or ("tool_calls" if reply.calls else "stop"))


# Anthropic has one word for both.
ENDS = {("anthropic", "content_filter"): "refusal"}


@pytest.mark.parametrize("name", SIDES)
@many
@given(said=replies, sizes=st.lists(st.integers(1, 80), min_size=1))
def test_a_stream_says_what_the_whole_answer_says(name: str, said: Reply, sizes: list[int]) -> None:
    side, reply = SIDES[name], named(said, "call_")
    data = b"".join(side.events(ASKED, reply).sent)
    pieces, start = [], 0
    while start < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[start : start + size])
        start += size
    steps = read(side.dialect.reader(), pieces)
    whole = side.whole(ASKED, reply)
    assert told(gathered(steps)) == told(whole.parts)
    assert [step.stop for step in steps if isinstance(step, Ended)] == [whole.stop]
    assert [step.usage for step in steps if isinstance(step, Counted)][-1] == whole.usage
    assert isinstance(steps[0], Began)


SPOKEN = Reply(
    "Sunny – 20 °C 🌞 in Oslo.\n",
    thinking="Which city? Öslo.",
    signature="c2ln",
    calls=[Called("weather", {"city": "Tromsø", "days": [1, 2]}, "c1"), Called("search_all", {}, "c2")],
)


def test_where_the_bytes_are_cut_makes_no_difference(side: Side) -> None:
    data = b"".join(side.events(ASKED, SPOKEN).sent)
    wanted = gathered(read(side.dialect.reader(), [data]))
    assert [part for part in wanted if isinstance(part, ToolCall)][1].arguments in ("{}", "{ }")
    assert gathered(read(side.dialect.reader(), [data[n : n + 1] for n in range(len(data))])) == wanted
    for cut in range(1, len(data)):
        steps = read(side.dialect.reader(), [data[:cut], data[cut:]])
        assert gathered(steps) == wanted
        assert sum(isinstance(step, Ended) for step in steps) == 1


def test_a_stream_that_is_cut_off_never_ends(side: Side) -> None:
    sent, ending = side.events(ASKED, SPOKEN)
    data, last = b"".join(sent[:ending]), sent[ending]
    for cut in range(len(data) + len(last) // 2):
        reader = side.dialect.reader()
        try:
            steps = read(reader, [(data + last)[:cut]])
        except Unavailable:
            continue
        assert not [step for step in steps if isinstance(step, Ended)]


def test_an_error_within_a_stream_is_raised(side: Side) -> None:
    sent = side.events(ASKED, SPOKEN).sent
    with pytest.raises(StanchionError, match="too much just now"):
        read(side.dialect.reader(), [*sent[:3], side.family.failure("too much just now")])


def test_what_cannot_be_read_is_the_upstreams_fault(side: Side) -> None:
    sent = side.events(ASKED, SPOKEN).sent
    with pytest.raises(Unavailable):
        read(side.dialect.reader(), [*sent[:3], side.family.malformed()])
    for body in (b"", b"<html></html>", b"[]", b"{}", b'{"object": 1}'):
        with pytest.raises(Unavailable):
            side.dialect.answer(body)
