"""Registered graphs of tensors: laid out, checked, run by rung, and honest about what they gave."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import numpy
import pytest
from pydantic import BaseModel, Field

from stanchion.core.context import Context
from stanchion.core.errors import InvalidInput, Unavailable
from stanchion.registry import Draft, Lineage
from stanchion.serving import (
    Audio,
    Image,
    InferRequest,
    Layout,
    Picture,
    Predictions,
    ServedSpec,
    Sound,
    Tensor,
    TensorInput,
    TensorOutput,
    TensorSpec,
    Text,
)
from stanchion.serving.backends.scripted import ScriptedRuntime
from stanchion.serving.service import ServingService
from stanchion.serving.tensors.layout import Laid
from stanchion.serving.traffic import Assignment, Traffic
from tests.serving.conftest import Bench, caller


class Vector(BaseModel):
    x: list[float]


class Scaled(BaseModel):
    y: list[float]


LAYOUT = {
    "inputs": [{"name": "x", "fields": ["x"], "kind": "tensor", "shape": [2]}],
    "outputs": [{"name": "y", "field": "y"}],
}


async def registered(bench: Bench, *, layout: Any = LAYOUT, factors: tuple[float, ...] = (2.0, 3.0)) -> None:
    names = ("primary", "simple")[: len(factors)]
    files = {
        f"{name}.onnx": ScriptedRuntime.tensor_file(name, factor, 2)
        for name, factor in zip(names, factors, strict=True)
    }
    draft = Draft(
        model="scale",
        format="onnx",
        input_schema=Vector.model_json_schema(),
        output_schema=Scaled.model_json_schema(mode="serialization"),
        metrics={},
        parameters={},
        metadata={"tensors": layout, "rungs": {name: f"{name}.onnx" for name in names}},
        lineage=Lineage("0" * 64, 1, "made up", "git:abc"),
        weights_sha256=hashlib.sha256(repr(factors).encode()).hexdigest(),
        card="",
    )
    await bench.registry.register(caller(), draft, files)


SPEC = ServedSpec("scale", Vector, Scaled, default=Scaled(y=[0.0, 0.0]))


@pytest.fixture
async def serving(bench: Bench) -> AsyncIterator[ServingService]:
    await registered(bench)
    service = bench.serving(SPEC)
    await service.start()
    yield service
    await service.stop()


async def test_fields_and_tensors_give_the_same(serving: ServingService, ctx: Context) -> None:
    answer = await serving.predict(ctx, "scale", [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}])
    assert [each.values["y"] for each in answer.items] == [[2.0, 4.0], [6.0, 8.0]]
    tensor = Tensor("x", "FP32", (2, 2), (1.0, 2.0, 3.0, 4.0))
    given = await serving.infer(ctx, "scale", InferRequest((tensor,)))
    assert given.outputs == (Tensor("y", "FP32", (2, 2), (2.0, 4.0, 6.0, 8.0)),)
    assert (given.served_by, given.version) == ("primary", "1.0.0")


async def test_a_failing_graph_is_answered_for_by_the_simple_one(
    bench: Bench, serving: ServingService, ctx: Context
) -> None:
    bench.runtime.tensor_graphs["primary"].fault = RuntimeError("broken")
    answer = await serving.predict(ctx, "scale", [{"x": [1.0, 2.0]}])
    assert (answer.served_by, answer.items[0].values["y"]) == ("simple", [3.0, 6.0])
    request = InferRequest((Tensor("x", "FP32", (1, 2), (1.0, 2.0)),))
    given = await serving.infer(ctx, "scale", request)
    assert (given.served_by, given.tried, given.outputs[0].data) == ("simple", ("primary",), (3.0, 6.0))
    bench.runtime.tensor_graphs["simple"].fault = RuntimeError("broken")
    assert (await serving.predict(ctx, "scale", [{"x": [1.0, 2.0]}])).served_by == "default"
    with pytest.raises(Unavailable):
        await serving.infer(ctx, "scale", request)


async def test_what_the_graph_did_is_counted_for_tensors_too(serving: ServingService, ctx: Context) -> None:
    await serving.infer(ctx, "scale", InferRequest((Tensor("x", "FP32", (1, 2), (1.0, 2.0)),)))
    assert (await serving.describe(ctx, "scale")).rungs[0].served == 1


@pytest.mark.parametrize("x", [[1.0], [1.0, 2.0, 3.0], []])
async def test_a_list_of_another_shape_is_refused(serving: ServingService, ctx: Context, x: list[float]) -> None:
    with pytest.raises(InvalidInput) as caught:
        await serving.predict(ctx, "scale", [{"x": x}])
    assert [each.path for each in caught.value.fields] == ["$.features.x"]


@pytest.mark.parametrize(
    "layout",
    [
        {"inputs": [], "outputs": LAYOUT["outputs"]},
        {"inputs": LAYOUT["inputs"], "outputs": []},
        {"inputs": LAYOUT["inputs"], "outputs": [{"name": "z", "field": "y"}]},
        {"inputs": LAYOUT["inputs"], "outputs": [{"name": "y", "field": "z"}]},
        {"inputs": LAYOUT["inputs"], "outputs": [{"name": "y", "field": "y", "kind": "label"}]},
        {"inputs": [{"name": "x", "fields": ["z"], "kind": "tensor", "shape": [2]}], "outputs": LAYOUT["outputs"]},
        {"inputs": [{"name": "x", "fields": ["x"], "kind": "tensor", "shape": [3]}], "outputs": LAYOUT["outputs"]},
        {"inputs": [{"name": "x", "fields": ["x"], "kind": "image"}], "outputs": LAYOUT["outputs"]},
        {"inputs": [{"name": "x", "fields": ["x"], "kind": "video"}], "outputs": LAYOUT["outputs"]},
        {
            "inputs": [{"name": "x", "fields": ["x"], "kind": "tensor", "shape": [2], "datatype": "FP64"}],
            "outputs": LAYOUT["outputs"],
        },
        {"nothing": 1},
    ],
)
async def test_a_layout_that_does_not_fit_its_graph_leaves_the_default_serving(
    bench: Bench, ctx: Context, layout: Any
) -> None:
    await registered(bench, layout=layout)
    service = bench.serving(SPEC)
    await service.start()
    try:
        status = await service.describe(ctx, "scale")
        assert status.version is None
        assert status.fault is not None
        assert (await service.predict(ctx, "scale", [{"x": [1.0, 2.0]}])).served_by == "default"
    finally:
        await service.stop()


class Sample(BaseModel):
    size: float | None = None
    flag: bool = False
    words: Annotated[str, Text(most=20)] = "a"
    sound: Annotated[str | list[float], Audio(rate=8)] = Field(default_factory=list)
    shot: list[list[int]] = Field(default_factory=list)


class Told(BaseModel):
    label: str = ""
    sure: float = 0.0
    scores: dict[str, float] = Field(default_factory=dict)
    raw: float = 0.0


def laid(inputs: list[TensorInput], specs: list[TensorSpec], outputs: list[TensorOutput] | None = None) -> Laid:
    given = outputs or [TensorOutput("o", "raw")]
    layout = Layout(tuple(inputs), tuple(given))
    out = [TensorSpec("o", "FP32", (-1, -1))]
    return Laid(layout, Sample.model_json_schema(), Told.model_json_schema(mode="serialization"), specs, out)


def test_numbers_stand_side_by_side_and_absent_ones_are_nan() -> None:
    made = laid([TensorInput("i", ("size", "flag"))], [TensorSpec("i", "FP32", (-1, 2))])
    array = made.arrays([{"size": 2, "flag": True}, {"size": None, "flag": False}])["i"]
    assert array.dtype == numpy.float32
    numpy.testing.assert_array_equal(array, numpy.array([[2, 1], [numpy.nan, 0]], numpy.float32))


def test_texts_are_bytes_of_one_column() -> None:
    made = laid([TensorInput("i", ("words",), kind="text", datatype="BYTES")], [TensorSpec("i", "BYTES", (-1, 1))])
    assert made.arrays([{"words": "a"}, {"words": "é"}])["i"].tolist() == [["a"], ["é"]]
    assert made.example(2)["i"].tolist() == [[""], [""]]


def test_sounds_are_cut_and_filled_with_silence() -> None:
    form = TensorInput("i", ("sound",), kind="audio", sound=Sound(rate=8, samples=4, scale=2.0))
    made = laid([form], [TensorSpec("i", "FP32", (-1, 4))])
    assert made.arrays([{"sound": [0.5, 0.25]}, {"sound": [0.5] * 9}])["i"].tolist() == [[1, 0.5, 0, 0], [1] * 4]


def test_pictures_take_the_form_that_the_graph_wants() -> None:
    pixels = [[[0, 128, 255], [255, 0, 0]]]

    def array(**changes: Any) -> Any:
        picture = Picture(**{"width": 2, "height": 1, "scale": 1.0, **changes})
        shape = {"HWC": (1, 2, 3), "CHW": (3, 1, 2), "flat": (6,)}[picture.order]
        form = TensorInput("i", ("shot",), kind="image", picture=picture)
        return laid([form], [TensorSpec("i", "FP32", (-1, *shape))]).arrays([{"shot": pixels}])["i"][0].tolist()

    assert array(order="HWC") == pixels
    assert array(order="CHW") == [[[0, 255]], [[128, 0]], [[255, 0]]]
    assert array(order="flat") == [0, 128, 255, 255, 0, 0]
    normal = array(order="flat", mean=(0.0, 128.0, 0.0), std=(1.0, 2.0, 255.0))
    assert normal == pytest.approx([0, 0, 1, 255, -64, 0])


def test_a_picture_of_another_size_is_stretched_or_refused() -> None:
    def arrays(*, exact: bool) -> Any:
        picture = Picture(width=2, height=2, mode="L", order="flat", exact=exact)
        form = TensorInput("i", ("shot",), kind="image", picture=picture)
        return laid([form], [TensorSpec("i", "FP32", (-1, 4))]).arrays([{"shot": [[255] * 8] * 8}])["i"]

    assert arrays(exact=False).tolist() == [[1.0] * 4]
    with pytest.raises(InvalidInput, match="2 x 2"):
        arrays(exact=True)


def test_scores_become_label_probability_and_all_of_them() -> None:
    outputs = [
        TensorOutput("o", "label", "label", ("a", "b"), softmax=True),
        TensorOutput("o", "sure", "probability", ("a", "b"), softmax=True),
        TensorOutput("o", "scores", "scores", ("a", "b")),
    ]
    made = laid([TensorInput("i", ("size",))], [TensorSpec("i", "FP32", (-1, 1))], outputs)
    [answer] = made.answers({"o": numpy.array([[0.0, 1.0]], numpy.float32)}, 1)
    assert answer["label"] == "b"
    assert answer["sure"] == pytest.approx(0.7311, abs=1e-4)
    assert answer["scores"] == {"a": 0.0, "b": 1.0}


@pytest.mark.parametrize(
    "output", [numpy.array([[1.0]]), numpy.array([[numpy.nan, 1.0]]), numpy.array([[0.0, 1.0]] * 2), numpy.float32(1)]
)
def test_an_answer_that_does_not_fit_is_the_graphs_failure(output: Any) -> None:
    outputs = [TensorOutput("o", "label", "label", ("a", "b"))]
    made = laid([TensorInput("i", ("size",))], [TensorSpec("i", "FP32", (-1, 1))], outputs)
    with pytest.raises(Unavailable):
        made.answers({"o": numpy.asarray(output)}, 1)


class Trial(Traffic):
    """Sends every call to one version, and keeps what came of it."""

    def __init__(self, version: str) -> None:
        self.assignment = Assignment(version, "canary")
        self.ends: list[tuple[str, str | None, str | None]] = []

    def assign(self, ctx: Context, model: str, unit: str) -> Assignment:
        return self.assignment

    def seen(
        self,
        ctx: Context,
        model: str,
        assignment: Assignment,
        instances: Any,
        predictions: Predictions | None,
        error: str | None,
        seconds: float,
    ) -> None:
        self.ends.append((assignment.arm, None if predictions is None else predictions.served_by, error))


async def test_a_rollout_splits_tensors_too_and_a_failing_trial_costs_no_caller(bench: Bench, ctx: Context) -> None:
    await registered(bench)
    await registered(bench, factors=(5.0,))
    trial = Trial("1.1.0")
    service = bench.serving(SPEC, traffic=trial)
    await service.start()
    try:
        await bench.registry.promote(caller(), "scale", "1.0.0", to="production", evidence="compared")
        await service._shelf.refresh("scale")
        request = InferRequest((Tensor("x", "FP32", (1, 2), (1.0, 2.0)),))
        answer = await service.infer(ctx, "scale", request)
        assert (answer.version, answer.arm, answer.outputs[0].data) == ("1.1.0", "canary", (5.0, 10.0))
        bench.runtime.tensor_graphs["primary"].fault = RuntimeError("broken")
        answer = await service.infer(ctx, "scale", request)
        assert (answer.version, answer.arm, answer.outputs[0].data) == ("1.0.0", "", (2.0, 4.0))
        assert trial.ends == [("canary", "primary", None), ("canary", None, "unavailable")]
    finally:
        await service.stop()


class Shot(BaseModel):
    shot: Annotated[str | list[Any], Image(most_pixels=100)]


class Bright(BaseModel):
    mean: float


async def brightness(items: Sequence[Shot]) -> list[Bright]:
    return [Bright(mean=float(Image(most_pixels=100).array(item.shot, mode="L").mean())) for item in items]


async def test_a_python_function_is_given_only_media_within_their_limits(bench: Bench, ctx: Context) -> None:
    service = bench.serving(ServedSpec("bright", Shot, Bright, function=brightness))
    try:
        answer = await service.predict(
            ctx, "bright", [{"shot": [[0, 100]]}, {"shot": "AAAA"}, {"shot": [[1] * 20] * 50}]
        )
        assert answer.items[0].values == {"mean": 50.0}
        problems = [each.error for each in answer.items[1:]]
        assert all(each is not None and each["code"] == "invalid_input" for each in problems)
    finally:
        await service.stop()
