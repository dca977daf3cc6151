"""Converse as it is written and read; AWS's own model of the service says what a valid request is."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from stanchion.core.errors import InvalidInput, StanchionError, Throttled, Unavailable
from stanchion.gateway.contract.calls import Usage
from stanchion.gateway.dialects.bedrock import BedrockDialect
from stanchion.gateway.wire.conversation import (
    Audio,
    CallPart,
    Choice,
    Conversation,
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
)
from stanchion.testing.upstreams.families.aws import event, exception, frame
from stanchion.testing.upstreams.families.bedrock_requests import problem

CLAUDE = "eu.anthropic.claude-sonnet-4-20250514-v1:0"
HELLO = Turn("user", [Text("Hello.")])
WEATHER = Tool("weather", "The weather.", {"type": "object"})
CALLED = Turn("assistant", [ToolCall("c1", "weather", '{"city": "Oslo"}')])


@pytest.fixture(scope="module")
def shape() -> Any:
    """AWS's own description of a request."""
    return botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape


def body(*turns: Turn, model: str = CLAUDE, **options: Any) -> dict[str, Any]:
    asked = Conversation(turns=turns or [HELLO], **options)
    written = json.loads(BedrockDialect(new_id=lambda: "id").request(asked, model).body)
    assert problem(written) == ""
    return dict(written)


def read(*events: bytes) -> list[Step]:
    reader = BedrockDialect(new_id=lambda: "id").reader()
    return [*reader.feed(b"".join(events)), *reader.close()]


def refused(*turns: Turn, model: str = CLAUDE, **options: Any) -> str:
    with pytest.raises(InvalidInput) as error:
        BedrockDialect().request(Conversation(turns=turns or [HELLO], **options), model)
    return error.value.fields[0].path


def test_a_full_request_is_one_that_awss_own_model_knows(shape: Any) -> None:
    said = [
        Text("Look: "),
        Image("iVBORw0KGgo=", "image/png"),
        Document("JVBERg==", "application/pdf", "Bill/2026 (1).pdf"),
    ]
    result = ToolResult("c1", [Text("sunny"), Image("iVBORw0KGgo=", "image/jpeg")], failed=True)
    written = body(
        Turn("system", [Text("Be short.", cache={"type": "ephemeral", "ttl": "1h"})]),
        Turn("user", [*said, Audio("UklGRg==", "wav")]),
        Turn("assistant", [Thinking("Hm.", "c2ln"), Thinking("", "aGlkZGVu", redacted=True), *CALLED.parts]),
        Turn("user", [Text("There."), result]),
        tools=[WEATHER, Tool("add", strict=True)],
        choice=Choice("named", "add"),
        format=Format({"type": "object"}, "city"),
        most_tokens=100,
        temperature=1.5,
        top_p=0.5,
        top_k=5,
        stop=["END"],
        effort="minimal",
        thinking_tokens=1024,
        seed=4,
    )
    report = ParamValidator().validate({**written, "modelId": CLAUDE}, shape)
    assert not report.has_errors(), report.generate_report()
    assert written["system"] == [{"text": "Be short."}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert [one["document"]["name"] for one in written["messages"][0]["content"] if "document" in one] == [
        "Bill 2026 (1) pdf 1"
    ]
    # What a tool gave comes before what is said of it.
    assert [*written["messages"][2]["content"][0]] == ["toolResult"]
    assert written["inferenceConfig"] == {"maxTokens": 100, "temperature": 1.0, "topP": 0.5, "stopSequences": ["END"]}
    assert written["toolConfig"]["toolChoice"] == {"tool": {"name": "add"}}
    assert written["outputConfig"]["effort"] == "low"
    schema = written["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert (schema["name"], json.loads(schema["schema"])) == ("city", {"type": "object"})
    assert written["additionalModelRequestFields"] == {
        "top_k": 5,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }


def test_the_models_name_is_one_segment_of_the_path() -> None:
    name = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.x.y-v1:0"
    wire = BedrockDialect().request(Conversation(turns=[HELLO], stream=True), name)
    assert wire.path.startswith("/model/arn%3Aaws%3Abedrock%3A")
    assert wire.path.endswith("%2Feu.x.y-v1%3A0/converse-stream")


def test_turns_of_one_side_become_one_and_blank_ones_go() -> None:
    written = body(
        HELLO, Turn("user", [Text(" ")]), Turn("assistant", [Thinking("unsigned")]), Turn("user", [Text("And?")])
    )
    assert written["messages"] == [{"role": "user", "content": [{"text": "Hello."}, {"text": "And?"}]}]


def test_ids_of_other_providers_are_made_fit_on_both_sides() -> None:
    odd = "call/" + "x" * 70
    turns = [HELLO, Turn("assistant", [ToolCall(odd, "weather", "")]), Turn("user", [ToolResult(odd, [Text("sunny")])])]
    written = body(*turns, tools=[WEATHER])
    assert written["messages"][1]["content"][0]["toolUse"]["input"] == {}


def test_thoughts_of_gemini_are_not_given_to_bedrock() -> None:
    written = body(HELLO, Turn("assistant", [Thinking("Hm.", "gemini:c2ln"), Text("Yes.")]), HELLO)
    assert written["messages"][1]["content"] == [{"text": "Yes."}]


def test_tools_that_are_not_to_be_called_are_not_declared() -> None:
    assert "toolConfig" not in body(tools=[WEATHER], choice=Choice("none"))


def test_what_nova_calls_otherwise_is_called_so() -> None:
    written = body(model="amazon.nova-pro-v1:0", top_k=5)
    assert written["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 5}}


def test_what_converse_cannot_do_is_refused_with_its_place() -> None:
    used = (HELLO, CALLED, Turn("user", [ToolResult("c1", [Text("sunny")])]))
    assert refused(answers=2) == "$.n"
    assert refused(logprobs=1) == "$.logprobs"
    assert refused(format=Format()) == "$.response_format"
    assert refused(extra={"presence_penalty": 1.0}) == "$.presence_penalty"
    assert refused(top_k=4, model="meta.llama3-1-70b-instruct-v1:0") == "$.top_k"
    assert refused(thinking_tokens=4, model="meta.llama3-1-70b-instruct-v1:0") == "$.thinking"
    assert refused(tools=[WEATHER], choice=Choice("auto", parallel=False)) == "$.parallel_tool_calls"
    assert refused(*used) == "$.tools"
    assert refused(*used, tools=[WEATHER], choice=Choice("none")) == "$.tool_choice"
    assert refused(Turn("assistant", [Text("No.")])) == "$.messages"
    assert refused(Turn("user", [Image(url="https://example.com/a.png")])) == "$.messages[0].content"
    assert refused(Turn("user", [Image("x", "image/bmp")])) == "$.messages[0].content"
    assert refused(Turn("user", [Document("x", "application/zip")])) == "$.messages[0].content"
    assert (
        refused(HELLO, Turn("assistant", [ToolCall("c", "weather", "[1]")]), tools=[WEATHER]) == "$.messages[1].content"
    )


def test_counts_of_the_cache_are_among_the_input() -> None:
    counts = {
        "inputTokens": 10,
        "outputTokens": 5,
        "totalTokens": 45,
        "cacheReadInputTokens": 20,
        "cacheWriteInputTokens": 10,
    }
    message = {"role": "assistant", "content": [{"text": "Yes."}]}
    held = {"output": {"message": message}, "stopReason": "stop_sequence", "usage": counts}
    answer = BedrockDialect(new_id=lambda: "id").answer(json.dumps(held).encode())
    assert (answer.id, answer.stop, answer.usage) == ("id", "stop", Usage(40, 5, 20, 10))


def test_cited_words_are_words_and_hidden_thoughts_stay_hidden() -> None:
    content = [
        {"reasoningContent": {"redactedContent": "aGlkZGVu"}},
        {"citationsContent": {"content": [{"text": "It rains."}], "citations": []}},
    ]
    held = {"output": {"message": {"content": content}}, "stopReason": "guardrail_intervened"}
    answer = BedrockDialect().answer(json.dumps(held).encode())
    assert answer.parts == [Thinking("", "aGlkZGVu", redacted=True), Text("It rains.")]
    assert (answer.stop, answer.usage) == ("content_filter", None)
    steps = read(event("contentBlockDelta", {"delta": {"reasoningContent": {"redactedContent": "aGlkZGVu"}}}))
    assert steps == [Thought(signature="aGlkZGVu", redacted=True)]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    start = {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "c", "name": "now"}}}
    stop = event("contentBlockStop", {"contentBlockIndex": 0})
    steps = read(event("contentBlockStart", start), stop, stop, event("messageStop", {"stopReason": "tool_use"}))
    assert steps[1:] == [CallPart(0, "{}"), Ended("tool_calls")]


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_an_answer_that_the_model_spoilt_is_no_answer(reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        read(event("messageStop", {"stopReason": reason}))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", Throttled),
        ("validationException", InvalidInput),
        ("modelStreamErrorException", Unavailable),
        ("internalServerException", Unavailable),
        ("serviceUnavailableException", Unavailable),
        ("somethingNewException", Unavailable),
    ],
)
def test_an_exception_within_the_stream_is_raised_as_what_it_is(name: str, kind: type[StanchionError]) -> None:
    with pytest.raises(StanchionError, match="not now") as error:
        read(event("messageStart", {"role": "assistant"}), exception(name, "not now"))
    assert type(error.value) is kind


def test_an_error_message_of_the_stream_itself_is_raised() -> None:
    headers = {":message-type": "error", ":error-code": "500", ":error-message": "gone wrong"}
    with pytest.raises(Unavailable, match="gone wrong"):
        read(frame(headers, b""))


def test_events_that_are_newer_than_the_reader_are_passed_over() -> None:
    odd = event("contentBlockDelta", {"contentBlockIndex": [], "delta": {"unheardOf": 1}})
    assert read(event("unheardOf", {}), odd) == []


def test_arguments_of_no_call_are_the_upstreams_fault() -> None:
    with pytest.raises(Unavailable, match="not begun"):
        read(event("contentBlockDelta", {"contentBlockIndex": 3, "delta": {"toolUse": {"input": "{"}}}))


def test_a_part_that_no_client_knows_is_not_dropped() -> None:
    held = {"output": {"message": {"content": [{"video": {}}]}}, "stopReason": "end_turn"}
    with pytest.raises(Unavailable, match="video"):
        BedrockDialect().answer(json.dumps(held).encode())
