"""The gRPC messages are those that stock clients speak: names, numbers and types."""

from __future__ import annotations

from typing import Any

import pytest

from stanchion.serving.protocols.messages import _MESSAGES, message

service_pb2 = pytest.importorskip("tritonclient.grpc.service_pb2", reason="tritonclient[grpc] is not installed")
OURS = [name for name in _MESSAGES if "." not in name]


def shape(descriptor: Any) -> Any:
    fields = sorted(
        (
            each.name,
            each.number,
            each.type,
            each.is_repeated,
            each.message_type.full_name if each.message_type else None,
            each.containing_oneof.name if each.containing_oneof else None,
        )
        for each in descriptor.fields
    )
    return fields, sorted((each.name, shape(each)) for each in descriptor.nested_types)


@pytest.mark.parametrize("name", OURS)
def test_a_message_is_the_stock_clients_own(name: str) -> None:
    assert shape(message(name).DESCRIPTOR) == shape(getattr(service_pb2, name).DESCRIPTOR)


def test_both_sets_of_messages_live_in_one_process() -> None:
    theirs = service_pb2.ModelInferRequest(model_name="m", id="1")
    theirs.parameters["timeout"].int64_param = 5
    ours = message("ModelInferRequest").FromString(theirs.SerializeToString())
    assert (ours.model_name, ours.id, ours.parameters["timeout"].int64_param) == ("m", "1", 5)
