"""KServe's own inference clients against a running system; its Python is that of `install.py kserve`.

Run: <that python> benchmarks/rivals/kserve/check.py URL GRPC KEYFILE MODEL. Prints what each client found, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

COLUMNS: list[tuple[str, str, Any]] = [
    ("customer_id", "BYTES", numpy.array([["1"], ["2"]], dtype=object)),
    ("tenure_months", "INT64", numpy.array([[24], [1]], dtype=numpy.int64)),
    ("monthly_charges", "FP64", numpy.array([[89.99], [20.0]], dtype=numpy.float64)),
]


def request(model: str, *, binary: bool) -> InferRequest:
    """Two customers as tensors, one for each field; the answer in the same form."""
    inputs = []
    for name, datatype, values in COLUMNS:
        tensor = InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    wanted = [RequestedOutput("probability", parameters={"binary_data": binary})]
    return InferRequest(model, inputs, request_id="7", request_outputs=wanted)


def told(answer: Any) -> dict[str, Any]:
    """What is compared of an answer."""
    [output] = [each for each in answer.outputs if each.name == "probability"]
    return {"id": answer.id, "model": answer.model_name, "probability": output.as_numpy().ravel().tolist()}


async def rest(url: str, headers: dict[str, str], model: str) -> dict[str, Any]:
    """The REST client: health, readiness, JSON, binary tensors, an error."""
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        found: dict[str, Any] = {
            "live": await client.is_server_live(url, headers=headers),
            "ready": await client.is_server_ready(url, headers=headers),
            "model_ready": await client.is_model_ready(url, model, headers=headers),
            "unknown_ready": await client.is_model_ready(url, "no-such-model", headers=headers),
        }
        for form in (False, True):
            answer = await client.infer(url, request(model, binary=form), model_name=model, headers=dict(headers))
            found["binary" if form else "json"] = told(answer)
        try:
            unknown = "no-such-model"
            await client.infer(url, request(unknown, binary=False), model_name=unknown, headers=dict(headers))
        except Exception as error:  # whatever the client makes of it is what its users see
            found["error"] = str(error)
    return found


async def grpc(target: str, headers: dict[str, str], model: str) -> dict[str, Any]:
    """The gRPC client: health, readiness, contents and raw contents, an error."""
    metadata = [(name.lower(), value) for name, value in headers.items()]
    logging.disable(logging.ERROR)  # the client logs what it raises
    async with InferenceGRPCClient(target, retries=0) as client:
        found: dict[str, Any] = {
            "live": await client.is_server_live(headers=metadata),
            "ready": await client.is_server_ready(headers=metadata),
            "model_ready": await client.is_model_ready(model, headers=metadata),
        }
        for form in (False, True):
            answer = await client.infer(request(model, binary=form), headers=metadata)
            found["binary" if form else "json"] = told(answer)
        try:
            await client.infer(request("no-such-model", binary=False), headers=metadata)
        except Exception as error:  # as above
            found["error"] = f"{error.code().name}: {error.details()}"  # type: ignore[attr-defined]
    return found


async def main(url: str, target: str, key_file: str, model: str) -> None:
    """Run both and print what they found."""
    headers = {"Authorization": f"Bearer {Path(key_file).read_text(encoding='utf-8').strip()}"}  # noqa: ASYNC240
    found = {"rest": await rest(url, headers, model), "grpc": await grpc(target, headers, model)}
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
