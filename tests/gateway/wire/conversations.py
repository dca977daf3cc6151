"""Conversations, answers and their steps for property tests, and a stream put together again."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.wire.conversation import (
    Answer,
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
    Stop,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Words,
)

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
IDS = st.text("abcXYZ019_-", min_size=1, max_size=12)
DATA = st.binary(min_size=1, max_size=6).map(lambda raw: base64.b64encode(raw).decode())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(WORDS, JSON, max_size=3).map(
    lambda held: json.dumps(held, separators=(",", ":"), ensure_ascii=False)
)
CALLS = st.builds(ToolCall, IDS, IDS, ARGUMENTS)
TEXTS = WORDS.map(Text)
IMAGES = st.builds(Image, DATA, st.sampled_from(["image/png", "image/jpeg"])) | st.builds(
    lambda name: Image(url=f"https://example.org/{name}"), IDS
)
DOCUMENTS = st.builds(Document, DATA, st.just("application/pdf"), IDS)
TOOLS = st.lists(
    st.builds(
        Tool,
        IDS,
        st.just("") | WORDS,
        st.dictionaries(WORDS, JSON.filter(lambda v: v is not None), min_size=1, max_size=2),
        st.none() | st.booleans(),
    ),
    max_size=3,
    unique_by=lambda tool: tool.name,
).map(tuple)
STOPS: tuple[Stop, ...] = ("stop", "length", "content_filter")


@st.composite
def turns(draw: st.DrawFn, *, thinking: bool = False) -> tuple[Turn, ...]:
    """Alternating turns behind instructions; every call is answered in the turn after it."""
    made = []
    if draw(st.booleans()):
        made.append(Turn("system", tuple(draw(st.lists(TEXTS, min_size=1, max_size=2)))))
    for _ in range(draw(st.integers(0, 3))):
        said = tuple(draw(st.lists(TEXTS | IMAGES | DOCUMENTS, min_size=1, max_size=3)))
        open_calls = [p for p in made[-1].parts if isinstance(p, ToolCall)] if made else []
        results = tuple(
            ToolResult(call.id, tuple(draw(st.lists(TEXTS, min_size=1, max_size=2)))) for call in open_calls
        )
        made.append(Turn("user", (*results, *(said if not results or draw(st.booleans()) else ()))))
        thoughts = (Thinking(draw(WORDS), draw(WORDS)),) if thinking and draw(st.booleans()) else ()
        words, calls = draw(st.lists(TEXTS, max_size=2)), draw(st.lists(CALLS, max_size=2, unique_by=lambda c: c.id))
        if words or calls:
            made.append(Turn("assistant", (*thoughts, *words, *calls)))
        else:
            break
    return (*made, Turn("user", (Text("go on"),))) if not made or made[-1].role == "system" else tuple(made)


@st.composite
def conversations(draw: st.DrawFn, *, thinking: bool = False) -> Conversation:
    """What every form can say."""
    tools = draw(TOOLS)
    modes = [Choice("auto"), Choice("any"), Choice("none"), Choice("any", parallel=False)]
    choices = st.none() | st.sampled_from(modes)
    if tools:
        choices |= st.builds(Choice, st.just("named"), st.just(tools[0].name))
    return Conversation(
        turns=draw(turns(thinking=thinking)),
        tools=tools,
        choice=draw(choices) if tools else None,
        most_tokens=draw(st.integers(1, 100_000)),
        temperature=draw(st.none() | st.floats(0, 1)),
        top_p=draw(st.none() | st.floats(0, 1)),
        stop=tuple(draw(st.lists(WORDS, max_size=3))),
        effort=draw(st.none() | st.sampled_from(["low", "medium", "high"])),
        user=draw(st.none() | IDS),
        stream=draw(st.booleans()),
        format=draw(st.none() | st.builds(Format, st.just({"type": "object"}), st.just("answer"))),
    )


USAGES = st.builds(
    lambda plain, out, cached, written, thought: Usage(
        plain + cached + written, out + thought, cached, written, thought
    ),
    *[st.integers(0, 10_000)] * 5,
)


@st.composite
def answers(draw: st.DrawFn, *, signed: bool = False) -> Answer:
    """A whole answer: thoughts, then words, then calls."""
    parts: list[Text | Thinking | ToolCall] = []
    if draw(st.booleans()):
        parts.append(Thinking(draw(WORDS), draw(WORDS) if signed else ""))
    if signed and draw(st.booleans()):
        parts.append(Thinking("", draw(WORDS), redacted=True))
    if draw(st.booleans()):
        parts.append(Text(draw(WORDS)))
    calls = draw(st.lists(CALLS, max_size=3, unique_by=lambda call: call.id))
    stop: Stop = "tool_calls" if calls else draw(st.sampled_from(STOPS))
    return Answer(draw(IDS), "named", [*parts, *calls], stop, draw(USAGES))


@st.composite
def streamed(draw: st.DrawFn, answer: Answer) -> list[Step]:
    """The answer as steps, its texts cut anywhere."""

    def pieces(text: str) -> list[str]:
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
        return [text[a:b] for a, b in pairwise([0, *cuts, len(text)]) if a < b]

    steps: list[Step] = [Began(answer.id, answer.model)]
    calls = 0
    for part in answer.parts:
        if isinstance(part, Text):
            steps += [Words(piece) for piece in pieces(part.text)]
        elif isinstance(part, ToolCall):
            steps.append(CallBegan(calls, part.id, part.name))
            steps += [CallPart(calls, piece) for piece in pieces(part.arguments)]
            calls += 1
        elif part.redacted:
            steps.append(Thought(signature=part.signature, redacted=True))
        else:
            steps += [Thought(piece) for piece in pieces(part.text)]
            steps += [Thought(signature=part.signature)] if part.signature else []
    assert answer.usage is not None
    tail: list[Step] = [Ended(answer.stop), Counted(answer.usage)]
    return [*steps, *(tail if draw(st.booleans()) else tail[::-1])]


def together(steps: Sequence[Step]) -> Answer:
    """One answer of the steps; fails where they have no end."""
    held: dict[str, Any] = {"id": "", "model": "", "usage": None, "stop": None}
    parts: list[Any] = []
    calls: dict[int, int] = {}
    signed = False
    for step in steps:
        last = parts[-1] if parts else None
        match step:
            case Began():
                held.update(id=step.id, model=step.model)
            case Words():
                said = parts.pop().text if isinstance(last, Text) else ""
                parts.append(Text(said + step.text))
            case Thought(redacted=True):
                parts.append(Thinking("", step.signature, redacted=True))
            case Thought():
                before = Thinking("")
                if isinstance(last, Thinking) and not last.redacted and not (signed and step.text):
                    before = parts.pop()
                parts.append(Thinking(before.text + step.text, before.signature + step.signature))
                signed = bool(step.signature)
            case CallBegan():
                calls[step.index] = len(parts)
                parts.append(ToolCall(step.id, step.name, ""))
            case CallPart():
                made = parts[calls[step.index]]
                parts[calls[step.index]] = ToolCall(made.id, made.name, made.arguments + step.arguments)
            case Ended():
                assert held["stop"] is None
                held["stop"] = step.stop
            case Counted():
                held["usage"] = step.usage
    assert held["stop"] is not None
    return Answer(held["id"], held["model"], parts, held["stop"], held["usage"])
