"""A model on any server of the Open Inference Protocol, over REST.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
import numpy

from ...core.context import Context
from ...core.errors import InvalidInput, NotFound, Unavailable
from ..contract.sources import Remote
from ..contract.tensors import Tensor, TensorSpec
from ..ports import Signature, Tensors
from ..tensors.arrays import array_of, tensor_of
from .outside import Outside

Array = numpy.ndarray[Any, numpy.dtype[Any]]


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: Any = None
    parameters: dict[str, Any] | None = None


class _Answer(msgspec.Struct):
    outputs: list[_Tensor]


class _Metadata(msgspec.Struct):
    name: str
    inputs: list[_Tensor] = []
    outputs: list[_Tensor] = []


class RemoteTensors(Tensors):
    """The model behind one `Remote` declaration."""

    def __init__(self, remote: Remote, outside: Outside) -> None:
        self._outside = outside
        self._model = remote.model
        self._path = f"/v2/models/{quote(remote.model, safe='')}"
        if remote.version:
            self._path += f"/versions/{quote(remote.version, safe='')}"
        self._signature: Signature | None = None

    async def signature(self, ctx: Context) -> Signature:
        """What the server says of the model; both empty where it says nothing, as MLServer does by default."""
        if self._signature is None:
            told = _read(await self._ask(ctx, "GET", ""), _Metadata)
            self._signature = Signature(_specs(told.inputs), _specs(told.outputs))
        return self._signature

    async def ready(self, ctx: Context) -> bool:
        """Whether the server says that the model is ready. Raises Unavailable, DeadlineExceeded."""
        try:
            await self._ask(ctx, "GET", "/ready")
        except (Unavailable, InvalidInput):
            return False
        return True

    async def infer(self, ctx: Context, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        body: dict[str, object] = {"inputs": [_sent(name, array) for name, array in inputs.items()]}
        if outputs:
            body["outputs"] = [{"name": name} for name in outputs]
        answer = _read(await self._ask(ctx, "POST", "/infer", body), _Answer)
        found = {each.name: _array(each) for each in answer.outputs}
        missing = [name for name in outputs if name not in found]
        if missing:
            raise Unavailable(f"the remote model {self._model} did not give the output {missing[0]}")
        return {name: found[name] for name in outputs} if outputs else found

    async def _ask(self, ctx: Context, method: str, path: str, body: object = None) -> Any:
        try:
            return await self._outside.call(ctx, method, self._path + path, body)
        except NotFound as error:
            raise Unavailable(f"the server has no model {self._model}") from error


def _specs(tensors: Sequence[_Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(each.name, each.datatype, tuple(each.shape)) for each in tensors)


def _sent(name: str, array: Array) -> dict[str, object]:
    tensor = tensor_of(name, array, binary=False)
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "data": list(tensor.data or ()),
    }


def _read(answer: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise Unavailable("the server's answer is none of the Open Inference Protocol") from error


def _array(each: _Tensor) -> Array:
    flat: list[Any] = []
    _flatten(each.data, flat)
    try:
        return array_of(Tensor(each.name, each.datatype, tuple(each.shape), data=tuple(flat)))
    except InvalidInput as error:
        raise Unavailable(f"the server gave an output {each.name} that is no tensor: {error.detail}") from error


def _flatten(data: Any, into: list[Any]) -> None:
    """The protocol lets data be nested as the shape is, or flat."""
    if isinstance(data, list):
        for each in data:
            _flatten(each, into)
    else:
        # JSON has no NaN: servers send null.
        into.append(float("nan") if data is None else data)
