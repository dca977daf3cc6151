"""The churn model with nothing around it: JSON in, one row, one ONNX run, JSON out.

The bare handler and the Ray Serve deployment both run this, so that they differ only in what is around it. It needs
msgspec, numpy and onnxruntime and knows nothing of Stanchion. The session has the options that Stanchion gives it.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy
import onnxruntime


class Customer(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The example's input type with its defaults and bounds, written by hand."""

    customer_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    tenure_months: Annotated[int, msgspec.Meta(ge=0, le=1200)]
    monthly_charges: Annotated[float, msgspec.Meta(ge=0, le=10_000)]
    contract: Literal["month_to_month", "one_year", "two_year"] = "month_to_month"
    internet_service: Literal["none", "dsl", "fiber_optic"] = "fiber_optic"
    payment_method: Literal["electronic_check", "mailed_check", "bank_transfer", "credit_card"] = "electronic_check"
    paperless_billing: bool = True
    senior_citizen: bool = False
    partner: bool = False
    dependents: bool = False
    phone_service: bool = True
    multiple_lines: bool = False
    online_security: bool = False
    online_backup: bool = False
    device_protection: bool = False
    tech_support: bool = False
    streaming_tv: bool = False
    streaming_movies: bool = False


class Ask(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of POST /v1/predictions."""

    model_id: str
    features: Customer


class Plain:
    """The model of one package folder."""

    def __init__(self, folder: Path) -> None:
        package = json.loads((folder / "package.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self._session = onnxruntime.InferenceSession(
            (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        columns = package["columns"]
        self._input, self._outputs = package["input"], [package["output"]]
        self._read = attrgetter(*(column["name"] for column in columns))
        self._codes = [
            (place, {value: float(code) for code, value in enumerate(column["categories"])})
            for place, column in enumerate(columns)
            if column["kind"] == "category"
        ]
        self._names = [name for name, _ in package["bands"]]
        self._bounds = [bound for _, bound in package["bands"]]
        self._decode = msgspec.json.Decoder(Ask).decode
        self._encode = msgspec.json.Encoder().encode

    def row(self, customer: Customer) -> list[float]:
        """The columns in the graph's order, categories as their codes."""
        values = list(self._read(customer))
        for place, codes in self._codes:
            values[place] = codes[values[place]]
        return values

    def row_of(self, body: bytes) -> list[float]:
        """The columns of one request body, for a server that is sent rows."""
        return [float(value) for value in self.row(self._decode(body).features)]

    def answer(self, body: bytes) -> bytes:
        """The answer to one request body."""
        ask = self._decode(body)
        rows = numpy.array([self.row(ask.features)], dtype=numpy.float32)
        [answers] = self._session.run(self._outputs, {self._input: rows})
        probability = answers[:, 1].tolist()[0]
        name = self._names[bisect_right(self._bounds, probability) - 1]
        return self._encode({"model_id": ask.model_id, "prediction": name, "probability": probability})
