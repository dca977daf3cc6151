"""The Open Inference Protocol over gRPC: messages in, messages out, as the stock client writes and reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy
import pytest

from stanchion.core.errors import InvalidInput, MalformedRequest, NotFound
from stanchion.core.rpc import RpcMethod
from stanchion.core.telemetry.contract import LedgerRow
from stanchion.serving.protocols.messages import message
from stanchion.serving.protocols.rpc import service


@pytest.fixture
def methods(serving: Any) -> dict[str, RpcMethod]:
    return {each.name: each for each in service(serving, lambda: True).methods}


@pytest.fixture
def row(ctx: Any) -> LedgerRow:
    return LedgerRow(datetime.now(UTC), ctx.request_id, ctx.trace.trace_id, "t1", "ada", "")


def asked(**changes: Any) -> Any:
    given = message("ModelInferRequest")(**{"model_name": "churn", "id": "7", **changes})
    for name, datatype in (("customer_id", "BYTES"), ("months", "INT64"), ("charges", "FP64")):
        given.inputs.add(name=name, datatype=datatype, shape=[2, 1])
    given.inputs[0].contents.bytes_contents.extend([b"1", b"2"])
    given.inputs[1].contents.int64_contents.extend([12, 30])
    given.inputs[2].contents.fp64_contents.extend([89.99, 20])
    return given


async def call(methods: dict[str, RpcMethod], name: str, ctx: Any, row: LedgerRow, given: Any) -> bytes:
    return await methods[name].answer(ctx, row, given if isinstance(given, bytes) else given.SerializeToString())


async def test_contents_are_answered_with_contents(methods: Any, ctx: Any, row: LedgerRow) -> None:
    answer = message("ModelInferResponse").FromString(await call(methods, "ModelInfer", ctx, row, asked()))
    assert (answer.model_name, answer.model_version, answer.id) == ("churn", "1.0.0", "7")
    assert answer.parameters["served_by"].string_param == "primary"
    found = {each.name: each.contents for each in answer.outputs}
    assert list(found["probability"].fp64_contents) == [0.7, 0.7]
    assert list(found["prediction"].bytes_contents) == [b"high", b"high"]
    assert (row.subject, row.version, row.rung, row.items) == ("churn", "1.0.0", "primary", 2)


async def test_raw_contents_are_answered_with_raw_contents(methods: Any, ctx: Any, row: LedgerRow) -> None:
    given = asked()
    for each in given.inputs:
        each.ClearField("contents")
    given.raw_input_contents.extend([b"\x01\0\0\0a" * 2, numpy.array([12, 30]).tobytes(), numpy.zeros(2).tobytes()])
    given.outputs.add(name="probability")
    answer = message("ModelInferResponse").FromString(await call(methods, "ModelInfer", ctx, row, given))
    assert numpy.frombuffer(answer.raw_output_contents[0]).tolist() == [0.7, 0.7]
    assert [each.name for each in answer.outputs] == ["probability"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda given: given.raw_input_contents.append(b"x"), "$.raw_input_contents"),
        (lambda given: given.raw_input_contents.extend([b"x"] * 3), "$.inputs[0].contents"),
        (lambda given: setattr(given.inputs[1], "datatype", "FP32"), "$.inputs[1].contents"),
        (lambda given: setattr(given.inputs[1], "datatype", "FP16"), "$.inputs[1].contents"),
        (lambda given: setattr(given.inputs[1], "datatype", "FP99"), "$.inputs[1].datatype"),
        (lambda given: given.inputs[1].shape.append(-1), "$.inputs[1].shape[2]"),
        (lambda given: given.parameters["sequence_id"].MergeFrom(number(3)), "$.parameters.sequence_id"),
        (lambda given: given.parameters["timeout"].MergeFrom(number(-3)), "$.parameters.timeout"),
    ],
)
async def test_what_does_not_fit_is_refused_with_its_place(
    change: Any, path: str, methods: Any, ctx: Any, row: LedgerRow
) -> None:
    given = asked()
    change(given)
    with pytest.raises(InvalidInput) as refused:
        await call(methods, "ModelInfer", ctx, row, given)
    assert [each.path for each in refused.value.fields] == [path]


def number(value: int) -> Any:
    return message("InferParameter")(int64_param=value)


async def test_bytes_that_are_no_message_are_refused(methods: Any, ctx: Any, row: LedgerRow) -> None:
    for name in ("ModelInfer", "ModelMetadata", "RepositoryIndex", "RepositoryModelLoad"):
        with pytest.raises(MalformedRequest):
            await call(methods, name, ctx, row, b"\xff\xff\xff")


async def test_a_refused_message_of_a_stream_is_answered_with_its_id(methods: Any) -> None:
    refusal = methods["ModelStreamInfer"].refusal
    told = message("ModelStreamInferResponse").FromString(refusal(NotFound("gone"), asked().SerializeToString()))
    assert (told.error_message, told.infer_response.id) == ("not_found: gone", "7")
    assert message("ModelStreamInferResponse").FromString(refusal(NotFound("gone"), b"\xff")).error_message


async def test_models_come_and_go(methods: Any, ctx: Any, row: LedgerRow) -> None:
    async def ready() -> bool:
        asked = message("ModelReadyRequest")(name="churn", version="1.0.0")
        found = message("ModelReadyResponse").FromString(await call(methods, "ModelReady", ctx, row, asked))
        return bool(found.ready)

    async def index(only_ready: bool) -> list[str]:
        asked = message("RepositoryIndexRequest")(ready=only_ready)
        found = message("RepositoryIndexResponse").FromString(await call(methods, "RepositoryIndex", ctx, row, asked))
        return [each.state for each in found.models]

    assert (await ready(), await index(True)) == (True, ["READY"])
    await call(methods, "RepositoryModelUnload", ctx, row, message("RepositoryModelUnloadRequest")(model_name="churn"))
    assert (await ready(), await index(True), await index(False)) == (False, [], ["UNAVAILABLE"])
    load = message("RepositoryModelLoadRequest")(model_name="churn")
    await call(methods, "RepositoryModelLoad", ctx, row, load)
    assert await ready()
    load.parameters["config"].string_param = "{}"
    with pytest.raises(InvalidInput):
        await call(methods, "RepositoryModelLoad", ctx, row, load)


async def test_the_server_is_live_and_as_ready_as_it_says(serving: Any, ctx: Any, row: LedgerRow) -> None:
    for fit in (True, False):
        methods = {each.name: each for each in service(serving, lambda fit=fit: fit).methods}
        live = message("ServerLiveResponse").FromString(await call(methods, "ServerLive", ctx, row, b""))
        ready = message("ServerReadyResponse").FromString(await call(methods, "ServerReady", ctx, row, b""))
        assert (live.live, ready.ready) == (True, fit)
    assert {name for name, each in methods.items() if each.open} == {"ServerLive", "ServerReady"}
