"""A model in MLServer, started with MLServer's own Python: p = sigmoid(x - y) as two columns.

Prints one JSON line with its address once the model is ready. It knows nothing of Stanchion.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time

import numpy
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

NAME = "linear"


class Linear(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        if rows.shape[1] != 2:
            raise ValueError("two columns are needed")
        high = 1 / (1 + numpy.exp(rows[:, 1] - rows[:, 0]))
        scores = numpy.stack([1 - high, high], axis=1).astype(numpy.float32)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def announce(port: int) -> None:
    while True:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            link.request("GET", f"/v2/models/{NAME}/ready")
            if link.getresponse().status == 200:
                print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
                return
        except OSError:
            time.sleep(0.1)
        finally:
            link.close()


async def serve() -> None:
    ports = {"host": "127.0.0.1", "http_port": free_port(), "grpc_port": free_port(), "metrics_port": free_port()}
    server = MLServer(Settings(**ports, debug=False, parallel_workers=0, metrics_endpoint=None))
    telling = asyncio.create_task(asyncio.to_thread(announce, ports["http_port"]))
    await server.start([ModelSettings(name=NAME, implementation=Linear)])
    await telling


if __name__ == "__main__":
    asyncio.run(serve())
