"""Models as a repository of tensor graphs: what they take and give, running them on tensors, loading and unloading.

The Open Inference Protocol's servers (REST and gRPC) stand on this. Every served model offers it:

- A graph of tensors (images, audio, any ONNX graph, another server's model) has the graph's own inputs and outputs.
- A tabular model or a Python function has one input for each field of its input schema, `[-1, 1]`, named as the field:
  number FP64, integer INT64, boolean BOOL, all else BYTES (text as it is, lists and objects as JSON). That is what
  MLServer's and KServe's clients send for a data frame. A model whose features are all numbers also takes one matrix
  FP32 or FP64 `[rows, columns]` of any name, columns in the order of the fields, as their array clients send it.
  Outputs are one tensor `[rows, 1]` for each field of the output schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action
from ...core.values import Json
from .tensors import Tensor, TensorSpec

State = Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE", "IDLE"]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a served model takes and gives. `platform` names the runtime, such as `onnxruntime` or `python`.

    `versions` are those that this process can name now, at least the one that answers. `parameters` tell more, as
    `matrix: true` where one numeric matrix is taken too.
    """

    name: str
    version: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """Tensors for one run; all of a tabular model's share their first dimension, the rows.

    `outputs` names those wanted, in that order; empty means all. `binary` asks for `raw` answers, else `data`.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()
    binary: bool = False


@dataclass(frozen=True, slots=True)
class InferResponse:
    """What the model gave, which version of it, and which rung of its ladder; `tried` are those that failed before."""

    model: str
    version: str
    served_by: str
    outputs: tuple[Tensor, ...]
    tried: tuple[str, ...] = ()
    arm: str = ""


@dataclass(frozen=True, slots=True)
class ModelState:
    """One entry of the repository's index.

    READY answers now; IDLE is unloaded for want of use and is loaded by the next call; UNAVAILABLE was unloaded by
    hand or cannot be loaded, and `reason` says why. `bytes` is the memory its graphs were measured to take (0 while
    not loaded), `cold_start_seconds` how long its last load took (None: never loaded here).
    """

    name: str
    version: str
    state: State
    reason: str = ""
    bytes: int = 0
    cold_start_seconds: float | None = None


class Repository(Protocol):
    """Tensors in, tensors out, and which models are in memory. All of it concerns this process alone."""

    @action("serving:read", effect="read", resource="Model", by="model")
    async def metadata(self, ctx: Context, model: str) -> ModelMetadata:
        """Inputs and outputs of `name`, `name@alias` or `name@1.4.0`. Raises NotFound, Unavailable."""
        ...

    @action("serving:predict", effect="read", resource="Model", by="model", seconds=30)
    async def infer(self, ctx: Context, model: str, request: InferRequest) -> InferResponse:
        """Run the model on tensors, through its ladder as far as the rungs take tensors.

        Raises NotFound; InvalidInput for an unknown, missing or ill-shaped tensor (paths `$.inputs[0].shape`, and
        `$.inputs[0].data[3]` for a row that the input schema refuses: unlike `predict`, one bad row refuses all);
        PayloadTooLarge, Unavailable, DeadlineExceeded.
        """
        ...

    @action("serving:read", effect="read", resource="Model", by="model")
    async def ready(self, ctx: Context, model: str) -> bool:
        """Whether a call would be answered by a graph or function now, cold start included. Raises NotFound."""
        ...

    @action("serving:read", effect="read", resource="Model")
    async def index(self, ctx: Context) -> Sequence[ModelState]:
        """Models of the caller's tenant that this process serves or was asked for lately, by name, then version."""
        ...

    @action("serving:load", effect="write", resource="Model", by="model", seconds=300)
    async def load(self, ctx: Context, model: str) -> ModelState:
        """Bring a model into memory and into service here; nothing to do if it is. Raises NotFound, Unavailable."""
        ...

    @action("serving:unload", effect="write", resource="Model", by="model")
    async def unload(self, ctx: Context, model: str) -> ModelState:
        """Take a model's graphs out of memory here, until `load` or until a newer version comes into service.

        Calls under way end as they began. Others are answered by its rule and its default, or by nothing (Unavailable).
        Not kept when the process ends. Raises NotFound, Conflict for a model that has no graphs, such as a function.
        """
        ...
