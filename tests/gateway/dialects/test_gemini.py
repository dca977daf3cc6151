"""Gemini's requests and answers, and what its models want back unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stanchion.core.errors import InvalidInput, Throttled, Unavailable
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.dialects.gemini import GeminiDialect
from stanchion.gateway.wire.conversation import (
    Audio,
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
from stanchion.testing.upstreams.families.gemini_requests import problem

MODEL = "gemini-3-pro"
HELLO = Turn("user", [Text("Hello.")])
WEATHER = Tool("weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
RESULT = Turn("user", [ToolResult("c1", [Text("sunny")])])


def body(*turns: Turn, model: str = MODEL, **options: Any) -> dict[str, Any]:
    written = json.loads(GeminiDialect().request(Conversation(turns=turns or [HELLO], **options), model).body)
    assert problem("chat", model, written) == ""
    return dict(written)


def refused(*turns: Turn, **options: Any) -> str:
    with pytest.raises(InvalidInput) as error:
        GeminiDialect().request(Conversation(turns=turns or [HELLO], **options), MODEL)
    return error.value.fields[0].path


def answered(*parts: dict[str, Any], reason: str | None = "STOP", **rest: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": list(parts), "role": "model"}} | ({"finishReason": reason} if reason else {})
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": MODEL, **rest}


def read(*documents: dict[str, Any]) -> list[Step]:
    reader = GeminiDialect().reader()
    data = b"".join(b"data: %s\r\n\r\n" % json.dumps(document).encode() for document in documents)
    return [*reader.feed(data), *reader.close()]


def parts(*parts: dict[str, Any]) -> list[Any]:
    return list(GeminiDialect().answer(json.dumps(answered(*parts)).encode()).parts)


def test_a_full_request() -> None:
    written = body(
        Turn("system", [Text("Be short.")]),
        Turn("user", [Text("Look"), Image("iVBORw0KGgo=", "image/png"), Image(url="https://example.com/a.jpg?x=1")]),
        Turn("user", [Audio("UklGRg==", "mp3"), Document("JVBERg==", "application/pdf")]),
        tools=[WEATHER, Tool("now")],
        choice=Choice("named", "now"),
        format=Format({"type": "object"}, "city"),
        most_tokens=100,
        temperature=1.5,
        top_p=0.5,
        top_k=5,
        stop=["END"],
        seed=7,
        logprobs=2,
        effort="max",
        user="u1",
        extra={"presence_penalty": 0.5, "metadata": {"a": "b"}},
    )
    assert written["systemInstruction"] == {"parts": [{"text": "Be short."}]}
    assert len(written["contents"]) == 1
    assert written["contents"][0]["parts"][2:4] == [
        {"fileData": {"fileUri": "https://example.com/a.jpg?x=1", "mimeType": "image/jpeg"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "UklGRg=="}},
    ]
    assert written["tools"][0]["functionDeclarations"][1] == {"name": "now", "description": ""}
    assert written["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": ["now"]}
    assert written["generationConfig"] == {
        "maxOutputTokens": 100,
        "temperature": 1.5,
        "topP": 0.5,
        "topK": 5,
        "stopSequences": ["END"],
        "seed": 7,
        "responseLogprobs": True,
        "logprobs": 2,
        "thinkingConfig": {"thinkingLevel": "high"},
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
        "presencePenalty": 0.5,
    }


def test_the_path_names_model_and_stream() -> None:
    asked = Conversation(turns=[HELLO], stream=True)
    assert GeminiDialect().request(asked, "m").path == "/v1beta/models/m:streamGenerateContent?alt=sse"
    tuned = Conversation(turns=[HELLO])
    assert GeminiDialect(version="v1").request(tuned, "tunedModels/a b").path == "/v1/tunedModels/a%20b:generateContent"


@pytest.mark.parametrize(
    ("model", "options", "wanted"),
    [
        ("gemini-2.5-flash", {"effort": "none"}, {"thinkingBudget": 0}),
        ("models/gemini-2.5-pro", {"effort": "high"}, {"thinkingBudget": 24576}),
        ("gemini-3-flash", {"effort": "none"}, {"thinkingLevel": "minimal"}),
        ("gemini-3-flash", {"effort": "medium"}, {"thinkingLevel": "medium"}),
        ("gemini-3-flash", {"thinking_tokens": 2048}, {"thinkingBudget": 2048, "includeThoughts": True}),
        ("gemini-2.5-flash", {"thinking_tokens": 0}, {"thinkingBudget": 0, "includeThoughts": False}),
    ],
)
def test_effort_is_tokens_for_older_models_and_a_level_for_newer(
    model: str, options: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert body(model=model, **options)["generationConfig"]["thinkingConfig"] == wanted


def test_a_signature_comes_back_to_the_part_it_stood_at() -> None:
    call = {"functionCall": {"id": "c1", "name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": "c2ln"}
    second = {"functionCall": {"id": "c2", "name": "weather", "args": {}}}
    thought = {"text": "Which city?", "thought": True}
    held = parts(thought, {"text": "Let me see."}, call, second)
    assert held == [
        Thinking("Which city?"),
        Text("Let me see."),
        Thinking("", "gemini:c2ln"),
        ToolCall("c1", "weather", '{"city":"Oslo"}'),
        ToolCall("c2", "weather", "{}"),
    ]
    results = Turn("user", [ToolResult("c1", [Text("sunny")]), ToolResult("c2", [Text("no city")], failed=True)])
    written = body(HELLO, Turn("assistant", held), results, tools=[WEATHER])
    assert written["contents"][1]["parts"] == [{"text": "Let me see."}, call, second]
    assert [one["functionResponse"]["response"] for one in written["contents"][2]["parts"]] == [
        {"output": "sunny"},
        {"error": "no city"},
    ]


def test_a_signature_at_the_end_of_a_stream_comes_back_at_the_end() -> None:
    steps = read(answered({"text": "Yes."}, reason=None), answered({"text": "", "thoughtSignature": "c2ln"}))
    assert steps[1:] == [Words("Yes."), Thought(signature="gemini:c2ln"), Ended("stop")]
    written = body(HELLO, Turn("assistant", [Text("Yes."), Thinking("", "gemini:c2ln")]), HELLO)
    assert written["contents"][1]["parts"] == [{"text": "Yes."}, {"text": "", "thoughtSignature": "c2ln"}]


def test_a_thought_and_its_signature_are_one() -> None:
    said = {"text": "Yes.", "thoughtSignature": "c2ln"}
    assert parts({"text": "Hm.", "thought": True}, said) == [Thinking("Hm.", "gemini:c2ln"), Text("Yes.")]
    written = body(HELLO, Turn("assistant", [Thinking("Hm.", "gemini:c2ln"), Text("Yes.")]), HELLO)
    assert written["contents"][1]["parts"] == [{"text": "Hm.", "thought": True}, said]


def test_a_call_of_another_model_says_that_it_has_no_signature() -> None:
    turns = (HELLO, Turn("assistant", [Thinking("Hm.", "foreign"), ToolCall("c1", "weather", "{}")]), RESULT)
    newer = body(*turns, tools=[WEATHER])["contents"][1]["parts"]
    assert [one["thoughtSignature"] for one in newer] == ["skip_thought_signature_validator"]
    older = body(*turns, tools=[WEATHER], model="gemini-2.5-flash")["contents"][1]["parts"]
    assert older == [{"functionCall": {"id": "c1", "name": "weather", "args": {}}}]


def test_what_gemini_cannot_do_is_refused_with_its_place() -> None:
    assert refused(answers=2) == "$.n"
    assert refused(stop=list("abcdef")) == "$.stop"
    assert refused(seed=1 << 31) == "$.seed"
    assert refused(extra={"logit_bias": {"5": 1}}) == "$.logit_bias"
    assert refused(tools=[WEATHER], choice=Choice("auto", parallel=False)) == "$.parallel_tool_calls"
    assert refused(Turn("system", [Text("Be short.")])) == "$.messages"
    assert refused(HELLO, RESULT) == "$.messages[1]"
    assert refused(HELLO, Turn("assistant", [ToolCall("c", "weather", "no json")])) == "$.messages[1]"
    assert refused(Turn("user", [Image(url="https://example.com/picture")])) == "$.messages[0]"


def test_thoughts_are_among_the_tokens_out_and_cached_ones_among_those_in() -> None:
    counts = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "toolUsePromptTokenCount": 5,
        "totalTokenCount": 155,
    }
    answer = GeminiDialect().answer(json.dumps(answered({"text": "Yes."}, usageMetadata=counts)).encode())
    assert answer.usage == Usage(105, 50, cached=60, reasoning=30)


def test_a_stream_counts_as_it_goes_and_tells_each_count_once() -> None:
    one = answered({"text": "a"}, reason=None, usageMetadata={"promptTokenCount": 5})
    last = answered({"text": "b"}, usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": 2})
    steps = read(one, one, last)
    assert [step.usage for step in steps if isinstance(step, Counted)] == [Usage(5), Usage(5, 2)]


def test_calls_without_ids_get_their_own() -> None:
    call = {"functionCall": {"name": "weather"}}
    steps = read(answered(call, call))
    assert [step for step in steps if isinstance(step, CallBegan | CallPart)] == [
        CallBegan(0, "call_r1_0", "weather"),
        CallPart(0, "{}"),
        CallBegan(1, "call_r1_1", "weather"),
        CallPart(1, "{}"),
    ]
    assert steps[-1] == Ended("tool_calls")


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("PROHIBITED_CONTENT", "content_filter")],
)
def test_reasons_of_the_end(reason: str, stop: str) -> None:
    assert GeminiDialect().answer(json.dumps(answered({"text": "a"}, reason=reason)).encode()).stop == stop


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "OTHER", "UNEXPECTED_TOOL_CALL", "NEWER_THAN_THIS"])
def test_an_answer_that_the_model_gave_up_is_no_answer(reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        GeminiDialect().answer(json.dumps(answered({"text": "a"}, reason=reason)).encode())
    with pytest.raises(Unavailable, match=reason):
        read(answered({"text": "a"}, reason=reason))


def test_a_question_that_is_blocked_has_an_empty_answer() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 5}}
    answer = GeminiDialect().answer(json.dumps(blocked).encode())
    assert (answer.parts, answer.stop, answer.usage) == ([], "content_filter", Usage(5))
    assert read(blocked)[-1] == Ended("content_filter")


def test_an_error_within_a_stream_is_raised_as_what_it_is() -> None:
    error = {"error": {"code": 429, "message": "quota is used up", "status": "RESOURCE_EXHAUSTED"}}
    with pytest.raises(Throttled, match="quota"):
        read(answered({"text": "a"}, reason=None), error)


def test_a_part_that_no_client_knows_is_not_dropped() -> None:
    with pytest.raises(Unavailable, match="inlineData"):
        parts({"inlineData": {"mimeType": "image/png", "data": "x"}})


def test_log_probabilities_are_in_openais_form() -> None:
    one = {"token": "Yes", "logProbability": -0.5}
    result = {"chosenCandidates": [one, {"token": "."}], "topCandidates": [{"candidates": [one]}]}
    held = answered({"text": "Yes."})
    held["candidates"][0]["logprobsResult"] = result
    yes = {"token": "Yes", "logprob": -0.5, "bytes": [89, 101, 115]}
    wanted = [{**yes, "top_logprobs": [yes]}, {"token": ".", "logprob": 0.0, "bytes": [46], "top_logprobs": []}]
    assert GeminiDialect().answer(json.dumps(held).encode()).logprobs == wanted
    assert [step.logprobs for step in read(held) if isinstance(step, Words) and step.logprobs] == [wanted]
