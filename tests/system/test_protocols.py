"""Stock clients, unmodified, against a running system: tritonclient over HTTP and gRPC, KServe's, and our own.

Besides: WebSocket and events over a real connection, TLS with an authority of one's own, and drain.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import queue
import shutil
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy
import pytest
from pydantic import BaseModel

from stanchion.app.client import AsyncClient, Client, Outcome, Refused
from stanchion.core.errors import InvalidInput, NotAuthenticated, NotFound, Unavailable

MODEL = "customer-churn-v2"
FEATURES = {"customer_id": "1", "tenure_months": 24, "monthly_charges": 89.99}
CHECK = Path(__file__).resolve().parents[2] / "benchmarks" / "rivals"
COLUMNS: list[tuple[str, str, Any]] = [
    ("customer_id", "BYTES", numpy.array([[b"1"], [b"2"]], dtype=object)),
    ("tenure_months", "INT64", numpy.array([[24], [1]], dtype=numpy.int64)),
    ("monthly_charges", "FP64", numpy.array([[89.99], [20.0]], dtype=numpy.float64)),
]


class Customer(BaseModel):
    customer_id: str
    tenure_months: int
    monthly_charges: float


class Risk(BaseModel):
    prediction: Literal["low_risk", "medium_risk", "high_risk"]
    probability: float


@pytest.fixture(scope="module")
def running(trained: Path, tmp_path_factory: pytest.TempPathFactory, begin: Callable[..., Any]) -> Iterator[Any]:
    data = tmp_path_factory.mktemp("protocols") / "data"
    shutil.copytree(trained, data)
    one = begin(data, "--grpc-port", "0")
    yield one
    assert one.stop() == 0


@pytest.fixture(scope="module")
def expected(running: Any) -> list[float]:
    """The probabilities of the two customers, as the plain route gives them."""
    instances = [FEATURES, {"customer_id": "2", "tenure_months": 1, "monthly_charges": 20.0}]
    answer = running.ask("POST", "/v1/predictions", {"model_id": MODEL, "instances": instances}).json
    return [each["probability"] for each in answer["predictions"]]


@pytest.fixture
def header(running: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {running.key}"}


@pytest.fixture(params=["http", "grpc"])
def stock(request: pytest.FixtureRequest, running: Any) -> Iterator[tuple[ModuleType, Any]]:
    """tritonclient's module and a client of it."""
    name = f"tritonclient.{request.param}"
    module = pytest.importorskip(name, reason=f"tritonclient[{request.param}] is not installed")
    address = running.grpc if request.param == "grpc" else running.url.removeprefix("http://")
    client = module.InferenceServerClient(address)
    yield module, client
    client.close()


def inputs(module: ModuleType, *, binary: bool = True) -> list[Any]:
    found = []
    for name, datatype, values in COLUMNS:
        tensor = module.InferInput(name, list(values.shape), datatype)
        if module.__name__.endswith("http"):
            tensor.set_data_from_numpy(values, binary_data=binary)
        else:
            tensor.set_data_from_numpy(values)
        found.append(tensor)
    return found


# tritonclient


def test_the_stock_client_finds_the_server_and_its_models(stock: Any, header: dict[str, str]) -> None:
    _, client = stock
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL, headers=header)
    more = {"as_json": True} if hasattr(client, "start_stream") else {}
    metadata = client.get_model_metadata(MODEL, headers=header, **more)
    assert metadata["versions"] == ["1.0.0"]
    assert {"tenure_months", "monthly_charges"} <= {each["name"] for each in metadata["inputs"]}
    assert {each["name"] for each in metadata["outputs"]} == {"prediction", "probability"}
    assert client.get_server_metadata(headers=header, **more)["name"] == "stanchion"


@pytest.mark.parametrize("binary", [True, False])
def test_the_stock_client_infers(binary: bool, stock: Any, header: dict[str, str], expected: list[float]) -> None:
    module, client = stock
    answer = client.infer(MODEL, inputs(module, binary=binary), headers=header, request_id="7")
    assert answer.as_numpy("probability").ravel().tolist() == pytest.approx(expected)
    assert set(answer.as_numpy("prediction").ravel()) <= {b"low_risk", b"medium_risk", b"high_risk"}
    wanted = [module.InferRequestedOutput("probability")]
    answer = client.infer(MODEL, inputs(module, binary=binary), headers=header, outputs=wanted, model_version="1.0.0")
    assert answer.as_numpy("prediction") is None
    assert answer.as_numpy("probability").shape == (2, 1)


def test_the_stock_client_shows_our_errors(stock: Any, header: dict[str, str]) -> None:
    from tritonclient.utils import InferenceServerException

    module, client = stock
    wrong = inputs(module)[:1]
    calls: list[tuple[Callable[[], Any], str, tuple[str, str]]] = [
        (lambda: client.infer(MODEL, inputs(module)), "no credential was sent", ("401", "StatusCode.UNAUTHENTICATED")),
        (
            lambda: client.infer("nothing", inputs(module), headers=header),
            "nothing is registered as nothing",
            ("404", "StatusCode.NOT_FOUND"),
        ),
        (lambda: client.infer(MODEL, wrong, headers=header), "$.inputs", ("422", "StatusCode.INVALID_ARGUMENT")),
        (
            lambda: client.get_model_metadata("nothing", headers=header),
            "nothing is registered as nothing",
            ("404", "StatusCode.NOT_FOUND"),
        ),
    ]
    for call, words, status in calls:
        with pytest.raises(InferenceServerException) as raised:
            call()
        assert words in raised.value.message()
        assert raised.value.status() in status


def test_the_stock_client_loads_and_unloads(stock: Any, header: dict[str, str]) -> None:
    _, client = stock
    as_json = {"as_json": True} if hasattr(client, "start_stream") else {}

    def state() -> str:
        found = client.get_model_repository_index(headers=header, **as_json)
        return str((found["models"] if as_json else found)[0]["state"])

    assert state() == "READY"
    client.unload_model(MODEL, headers=header)
    assert not client.is_model_ready(MODEL, headers=header)
    assert state() == "UNAVAILABLE"
    client.load_model(MODEL, headers=header)
    assert client.is_model_ready(MODEL, headers=header)


def test_a_stream_of_the_stock_client_goes_on_after_an_error(running: Any, header: dict[str, str]) -> None:
    module = pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")
    heard: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with module.InferenceServerClient(running.grpc) as client:
        client.start_stream(lambda result, error: heard.put((result, error)), headers=header)
        for number, model in enumerate((MODEL, "nothing", MODEL)):
            client.async_stream_infer(model, inputs(module), request_id=str(number))
        answers = [heard.get(timeout=60) for _ in range(3)]
        client.stop_stream()
    assert [None if error else result.get_response().id for result, error in answers] == ["0", None, "2"]
    assert "nothing is registered" in str(answers[1][1])


def test_every_way_in_leaves_its_ledger_row(running: Any, header: dict[str, str], expected: list[float]) -> None:
    for name, address in (("http", running.url.removeprefix("http://")), ("grpc", running.grpc)):
        module = pytest.importorskip(f"tritonclient.{name}", reason=f"tritonclient[{name}] is not installed")
        # The client writes into the headers it is given.
        module.InferenceServerClient(address).infer(MODEL, inputs(module), headers=dict(header))
    rows = running.ask("GET", f"/v1/telemetry/requests?limit=100&subject={MODEL}").json["items"]
    found = {(row["route"], row["items"], row["rung"], row["version"]) for row in rows if row["outcome"] == "ok"}
    assert ("POST /v2/models/{model}/infer", 2, "primary", "1.0.0") in found
    assert ("GRPC /inference.GRPCInferenceService/ModelInfer", 2, "primary", "1.0.0") in found


@pytest.mark.parametrize("system", ["two"], indirect=True)
def test_tensors_events_and_sockets_travel_to_serving_in_another_process(system: Any) -> None:
    tensors = [
        {"name": name, "shape": [2, 1], "datatype": datatype, "data": [each[0] for each in values.tolist()]}
        for name, datatype, values in COLUMNS[1:]
    ]
    tensors.append({"name": "customer_id", "shape": [2, 1], "datatype": "BYTES", "data": ["1", "2"]})
    answer = system.ask("POST", f"/v2/models/{MODEL}/infer", {"inputs": tensors})
    assert (answer.status, answer.json["parameters"]) == (200, {"served_by": "primary"})
    refused = system.ask("POST", f"/v2/models/{MODEL}/infer", {"inputs": tensors[:1]})
    assert (refused.status, refused.json["code"]) == (422, "invalid_input")
    assert system.ask("GET", f"/v2/models/{MODEL}").json["versions"] == ["1.0.0"]
    with Client(system.url, system.key) as client:
        assert [each.index for each in client.stream(MODEL, [FEATURES] * 3)] != []


# KServe


def test_kserves_own_clients_work(running: Any, expected: list[float]) -> None:
    spec = importlib.util.spec_from_file_location("install", CHECK / "install.py")
    assert spec is not None
    assert spec.loader is not None
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    python = install.installed("kserve")
    if python is None:
        pytest.skip("KServe's client is not installed: python benchmarks/rivals/install.py kserve")
    arguments = [running.url, running.grpc, str(running.data / "dev.key"), MODEL]
    done = subprocess.run(
        [str(python), str(CHECK / "kserve" / "check.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    for protocol in ("rest", "grpc"):
        assert (found[protocol]["live"], found[protocol]["ready"], found[protocol]["model_ready"]) == (True,) * 3
        for form in ("json", "binary"):
            assert found[protocol][form]["probability"] == pytest.approx(expected)
        assert "nothing is registered as no-such-model" in found[protocol]["error"]
    assert found["rest"]["unknown_ready"] is False


# Our own client


def test_our_client_predicts_with_types(running: Any, expected: list[float]) -> None:
    with Client(running.url, running.key) as client:
        outcome = client.predict(MODEL, Customer(**FEATURES), into=Risk)
        assert outcome.value.probability == pytest.approx(expected[0])
        good, bad, _ = client.predict_many(MODEL, [FEATURES, {}, FEATURES], into=Risk)
        assert isinstance(good, Outcome)
        assert isinstance(bad, Refused)
        assert {each.path for each in bad.error.fields} >= {"$.instances[1].tenure_months"}
        streamed = {each.index: each for each in client.stream(MODEL, [FEATURES, {}, FEATURES], into=Risk)}
        assert isinstance(streamed[1], Refused)
        assert isinstance(streamed[2], Outcome)
        assert MODEL in [each.model for each in client.models()]
        with pytest.raises(NotFound):
            client.predict("nothing", FEATURES)
        with pytest.raises(InvalidInput):
            client.predict(MODEL, {})
    with Client(running.url, "st_forged") as client, pytest.raises(NotAuthenticated):
        client.predict(MODEL, FEATURES)


async def test_our_async_client_batches(running: Any) -> None:
    async with AsyncClient(running.url, running.key) as client:
        async with client.batching(MODEL, size=20, wait_ms=5, into=Risk) as batch:
            given = [FEATURES if number % 7 else {} for number in range(60)]
            found = await asyncio.gather(*(batch.predict(each) for each in given), return_exceptions=True)
        assert [isinstance(each, InvalidInput) for each in found] == [not each for each in given]


def test_a_server_that_is_gone_is_unavailable(running: Any) -> None:
    with Client("http://127.0.0.1:9", running.key, timeout=60) as client, pytest.raises(Unavailable):
        client.predict(MODEL, FEATURES)


# WebSocket


async def test_a_websocket_answers_by_id_and_refuses_who_may_not(running: Any, header: dict[str, str]) -> None:
    import websockets

    address = running.url.replace("http", "ws") + "/v1/predictions/ws"
    async with websockets.connect(address, additional_headers=header) as socket:
        for number in range(200):
            await socket.send(json.dumps({"id": str(number), "model_id": MODEL, "features": FEATURES}))
        found = [json.loads(await socket.recv()) for _ in range(200)]
        assert {each["id"] for each in found} == {str(number) for number in range(200)}
        assert {each["answer"]["served_by"] for each in found} == {"primary"}
        await socket.send("{")
        assert json.loads(await socket.recv())["error"]["code"] == "malformed_request"
    for headers, status in (({}, 401), ({**header, "Origin": "http://elsewhere"}, 403)):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(address, additional_headers=headers)
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body or b"{}")["next_step"]
    async with websockets.connect(address, additional_headers=header) as socket:
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.send("x" * ((1 << 20) + 1))
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    assert "failed inside the service" not in running.errors()
    assert "handshake" not in running.errors()


# TLS and drain


@pytest.fixture
def secured(data: Path, tmp_path: Path, start: Callable[..., Any]) -> tuple[Any, Path]:
    """The system over https and secure gRPC, and the PEM of the authority that both are trusted by."""
    chain, key = certificate(tmp_path)
    env = {"STANCHION_HTTP__TLS_CERTIFICATE": str(chain), "STANCHION_HTTP__TLS_KEY": str(key)}
    return start(data, "--grpc-port", "0", env=env), chain


def test_everything_speaks_tls_where_http_does(secured: tuple[Any, Path]) -> None:
    running, authority = secured
    assert running.url.startswith("https://")
    url = running.url.replace("127.0.0.1", "localhost")
    with Client(url, running.key, authority=authority) as client:
        assert client.predict(MODEL, FEATURES, into=Risk).served_by == "primary"
    with Client(url, running.key, authority=ssl.create_default_context(cafile=str(authority))) as client:
        assert client.predict(MODEL, FEATURES).served_by == "primary"
    with Client(url, running.key, timeout=60) as client, pytest.raises(Unavailable):
        client.predict(MODEL, FEATURES)
    module = pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")
    address = running.grpc.replace("127.0.0.1", "localhost")
    with module.InferenceServerClient(address, ssl=True, root_certificates=str(authority)) as client:
        header = {"authorization": f"Bearer {running.key}"}
        assert client.infer(MODEL, inputs(module), headers=header).as_numpy("probability").shape == (2, 1)
    assert running.stop() == 0


def test_a_stream_under_way_ends_whole_while_the_process_stops(data: Path, start: Callable[..., Any]) -> None:
    running = start(data, "--grpc-port", "0")
    with Client(running.url, running.key) as client:
        stream = client.stream(MODEL, [FEATURES] * 5000)
        next(stream)
        running.process.send_signal(signal.SIGTERM)
        assert sum(1 for _ in stream) == 4999
    assert running.process.wait(60) == 0


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that is its own authority, and its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, secret
