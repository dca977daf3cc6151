"""What an Open Inference Protocol call costs with everything on, against a bare handler around the same ONNX session.

Run: python benchmarks/serving/v2.py [--data DATA] [--rounds 3] [--seconds 5]. One row as three named tensors in JSON,
as clients send a data frame, over HTTP. Both run as a server process of their own and are loaded in turn by the same
client; the ratio is the median of each round's ratio. The bare handler trusts its input: it reads the tensors, makes
the row, runs the session and writes the tensors, without caller, gate, ledger or check of shapes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from bisect import bisect_right
from pathlib import Path
from typing import Any

import msgspec
from package import MODEL, unpack
from process import fire, stanchion, started

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parents[1] / "examples" / "churn" / "system.py"
PATH = f"/v2/models/{MODEL}/infer"
BODY = json.dumps(
    {
        "id": "1",
        "inputs": [
            {"name": "customer_id", "shape": [1, 1], "datatype": "BYTES", "data": ["12345"]},
            {"name": "tenure_months", "shape": [1, 1], "datatype": "INT64", "data": [24]},
            {"name": "monthly_charges", "shape": [1, 1], "datatype": "FP64", "data": [89.99]},
        ],
    }
).encode()
WARM_SECONDS = 2


class Tensor(msgspec.Struct, gc=False):
    """One input."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class Ask(msgspec.Struct, gc=False):
    """The body of a call."""

    inputs: list[Tensor]
    id: str = ""


async def serve_bare(package: Path) -> None:
    """The bare handler, listening as Stanchion does."""
    import numpy
    import uvicorn
    from plain import Customer, Plain
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    model = Plain(package)
    decode, encode = msgspec.json.Decoder(Ask).decode, msgspec.json.Encoder().encode
    session, names, outputs = model._session, model._input, model._outputs

    async def infer(request: Request) -> Response:
        ask = decode(await request.body())
        customer = Customer(**{each.name: each.data[0] for each in ask.inputs})
        rows = numpy.array([model.row(customer)], dtype=numpy.float32)
        [answers] = session.run(outputs, {names: rows})
        probability = answers[:, 1].tolist()[0]
        label = model._names[bisect_right(model._bounds, probability) - 1]
        found = [
            {"name": "prediction", "datatype": "BYTES", "shape": [1, 1], "data": [label]},
            {"name": "probability", "datatype": "FP64", "shape": [1, 1], "data": [probability]},
        ]
        answer = {"model_name": MODEL, "model_version": "1.0.0", "outputs": found, "id": ask.id}
        return Response(encode(answer), media_type="application/json")

    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Starlette(routes=[Route(PATH, infer, methods=["POST"])]),
        http="httptools",
        loop="none",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
    )
    print(json.dumps({"event": "ready", "url": f"http://127.0.0.1:{bound.getsockname()[1]}"}), flush=True)
    await uvicorn.Server(config).serve(sockets=[bound])


def probability(answer: bytes) -> float:
    """The one probability of an answer."""
    [found] = [each["data"][0] for each in json.loads(answer)["outputs"] if each["name"] == "probability"]
    return float(found)


def measured(data: Path | None, *, rounds: int, seconds: float) -> dict[str, float]:
    """Load both in turn, and sum up."""
    from statistics import median

    from predictions import summed, trained

    with trained(data) as folder:
        package = folder.parent / "package"
        unpack(folder, package)
        bare = [sys.executable, Path(__file__), "--bare", package]
        with stanchion(EXAMPLE, folder) as ours, started(bare) as (theirs, _):
            same = [probability(each.post(PATH, BODY)) for each in (ours, theirs)]
            if abs(same[0] - same[1]) > 1e-6:
                raise RuntimeError(f"the two do not run the same model: {same}")
            for each in (ours, theirs):
                fire(each, PATH, BODY, seconds=WARM_SECONDS)
            pairs = [
                (fire(ours, PATH, BODY, seconds=seconds), fire(theirs, PATH, BODY, seconds=seconds))
                for _ in range(rounds)
            ]
    found = {
        "cpu_ratio": median(a.cpu_us / b.cpu_us for a, b in pairs),
        "cpu_ratio_least": min(a.cpu_us / b.cpu_us for a, b in pairs),
        "cpu_ratio_most": max(a.cpu_us / b.cpu_us for a, b in pairs),
    }
    for name, these in (("stanchion", [a for a, _ in pairs]), ("bare", [b for _, b in pairs])):
        found |= {f"{name}_{key}": value for key, value in summed(these).items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.bare is not None:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_bare(asked.bare))
        return
    figures = measured(asked.data, rounds=asked.rounds, seconds=asked.seconds)
    print(json.dumps({"benchmark": "serving/v2", **{k: round(v, 3) for k, v in figures.items()}}))


if __name__ == "__main__":
    main()
