"""The contract of serving's tensors as tests: subclass `TensorSuite` and give it a door that serves `SPECS`.

The door's system must belong to the tenant `t1`, no model may be registered, and everybody must be permitted all.
`SPECS` are those of `stanchion.testing.serving`.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from stanchion.core.errors import Conflict, InvalidInput, NotFound, PayloadTooLarge, StanchionError, Unavailable
from stanchion.serving import InferRequest, Serving, Tensor

from .serving import caller


def pair(left: Any = (1, 2), right: Any = None, **changes: Any) -> InferRequest:
    """A request for rows of `left` and, if given, `right`."""
    inputs = [Tensor("left", "INT64", (len(left), 1), tuple(left))]
    if right is not None:
        inputs.append(Tensor("right", "FP64", (len(right), 1), tuple(right)))
    return InferRequest(tuple(inputs), **changes)


class TensorSuite:
    """What every implementation of Serving does with tensors."""

    @pytest.fixture
    def serving(self) -> Serving:
        raise NotImplementedError("give the suite a door that serves SPECS")

    async def test_a_model_of_fields_has_a_tensor_for_each(self, serving: Serving) -> None:
        told = await serving.metadata(caller(), "add")
        assert [(each.name, each.datatype, each.shape) for each in told.inputs] == [
            ("left", "INT64", (-1, 1)),
            ("right", "FP64", (-1, 1)),
        ]
        assert [(each.name, each.datatype, each.shape) for each in told.outputs] == [("total", "FP64", (-1, 1))]
        assert (told.name, told.version) == ("add", "declared")
        assert told.parameters == {"optional": ["right"], "matrix": True, "columns": ["left", "right"]}

    async def test_columns_are_rows_and_absent_ones_take_their_default(self, serving: Serving) -> None:
        answer = await serving.infer(caller(), "add", pair((1, 2), (0.5, 1.5)))
        assert answer.outputs == (Tensor("total", "FP64", (2, 1), (1.5, 3.5)),)
        assert (answer.model, answer.version, answer.served_by) == ("add", "declared", "primary")
        answer = await serving.infer(caller(), "add", pair((1, 2)))
        assert answer.outputs[0].data == (2.0, 3.0)

    async def test_one_matrix_is_its_columns(self, serving: Serving) -> None:
        matrix = Tensor("input-0", "FP32", (2, 2), (1, 0.5, 2, 1.5))
        assert (await serving.infer(caller(), "add", InferRequest((matrix,)))).outputs[0].data == (1.5, 3.5)

    async def test_raw_bytes_are_read_and_given(self, serving: Serving) -> None:
        left = Tensor("left", "INT64", (2, 1), (1, 2))
        raw = Tensor("left", "INT64", (2, 1), raw=left.binary())
        answer = await serving.infer(caller(), "add", InferRequest((raw,), binary=True))
        assert answer.outputs[0].data is None
        assert list(answer.outputs[0].values()) == [2.0, 3.0]

    @pytest.mark.parametrize(
        ("request_", "path"),
        [
            (InferRequest(()), "$.inputs"),
            (InferRequest((Tensor("left", "INT64", (0, 1), ()),)), "$.inputs[0].shape"),
            (InferRequest((Tensor("left", "INT64", (1, 2), (1, 2)),)), "$.inputs[0].shape"),
            (InferRequest((Tensor("left", "INT64", (2, 1), (1,)),)), "$.inputs[0].data"),
            (InferRequest((Tensor("left", "BYTES", (1, 1), ("1",)),)), "$.inputs[0].datatype"),
            (InferRequest((Tensor("left", "FP64", (1, 1), (1.5,)),)), "$.inputs[0].data[0]"),
            (InferRequest((Tensor("nothing", "INT64", (1,), (1,)),)), "$.inputs[0].name"),
            (pair((1,), (1.0, 2.0)), "$.inputs[1].shape"),
            (pair((1,), (math.inf,)), "$.inputs[1].data[0]"),
            (InferRequest((*pair((1,)).inputs, *pair((1,)).inputs)), "$.inputs[1].name"),
            (pair((1, 5000)), "$.inputs[0].data[1]"),
            (pair((-1,)), "$.inputs[0].data[0]"),
            (InferRequest((Tensor("m", "FP32", (1, 2), (-1.0, 2.0)),)), "$.inputs[0].data[0]"),
            (InferRequest((Tensor("m", "FP32", (1, 3), (1, 2, 3)),)), "$.inputs[0].shape"),
            (pair((1,), outputs=("nothing",)), "$.outputs[0].name"),
        ],
    )
    async def test_what_does_not_fit_is_refused_with_its_place(
        self, serving: Serving, request_: InferRequest, path: str
    ) -> None:
        with pytest.raises(InvalidInput) as caught:
            await serving.infer(caller(), "add", request_)
        assert [each.path for each in caught.value.fields] == [path]

    async def test_too_many_rows_are_refused(self, serving: Serving) -> None:
        with pytest.raises(PayloadTooLarge):
            await serving.infer(caller(), "add", pair([1] * 10_001))

    async def test_a_lower_rung_answers_tensors_too(self, serving: Serving) -> None:
        answer = await serving.infer(caller(), "add", pair((13,)))
        assert (answer.served_by, answer.outputs[0].data, answer.tried) == ("rule", (-1.0,), ("primary",))

    async def test_the_index_lists_what_is_served_by_name(self, serving: Serving) -> None:
        states = await serving.index(caller())
        assert [(each.name, each.state) for each in states] == [
            ("add", "READY"),
            ("bare", "UNAVAILABLE"),
            ("ruled", "UNAVAILABLE"),
        ]
        assert await serving.ready(caller(), "add")
        assert not await serving.ready(caller(), "bare")

    async def test_a_function_is_loaded_already_and_cannot_be_unloaded(self, serving: Serving) -> None:
        assert (await serving.load(caller(), "add")).state == "READY"
        with pytest.raises(Conflict):
            await serving.unload(caller(), "add")

    async def test_what_nobody_can_answer_is_unavailable(self, serving: Serving) -> None:
        with pytest.raises(Unavailable):
            await serving.infer(caller(), "bare", pair((1,)))

    @pytest.mark.parametrize("tenant", ["t1", "t2"])
    async def test_an_unknown_model_is_not_found_by_any_of_them(self, serving: Serving, tenant: str) -> None:
        name = "nowhere" if tenant == "t1" else "add"
        ctx = caller(tenant)
        for call in (
            serving.metadata(ctx, name),
            serving.infer(ctx, name, pair()),
            serving.ready(ctx, name),
            serving.load(ctx, name),
            serving.unload(ctx, name),
        ):
            with pytest.raises(StanchionError) as caught:
                await call
            assert isinstance(caught.value, NotFound)
