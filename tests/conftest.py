"""Real servers for tests: used where they run, skipped with the reason where they do not.

STANCHION_REQUIRE_SERVERS=1 turns each such skip into a failure. STANCHION_SOAK=1 runs the full counts of crash and
load tests, which are skipped otherwise. STANCHION_NO_SERVERS=1 behaves as where no server runs, and writes which tests
it skipped for that to the file that STANCHION_SERVER_TESTS names; with STANCHION_REQUIRE_SERVERS=1 only those are run.
"""

from __future__ import annotations

import os
import secrets
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit, urlunsplit

import pytest
from hypothesis import HealthCheck, settings

from stanchion.testing import no_network

POSTGRES = os.environ.get("STANCHION_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/")
REDIS = os.environ.get("STANCHION_TEST_REDIS", "redis://127.0.0.1:6379/0")
NATS = os.environ.get("STANCHION_TEST_NATS", "nats://127.0.0.1:4222")
MQTT = os.environ.get("STANCHION_TEST_MQTT", "mqtt://127.0.0.1:1883")
SERVER_TESTS = Path(os.environ["STANCHION_SERVER_TESTS"]) if "STANCHION_SERVER_TESTS" in os.environ else None

# How long an example takes says how busy the machine is, and nothing of the code. The examples are the same each
# time, so that a change is judged by itself; STANCHION_SOAK=1 looks for new ones.
settings.register_profile(
    "stanchion",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("STANCHION_SOAK") != "1",
)
settings.load_profile("stanchion")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SERVER_TESTS is not None and os.environ.get("STANCHION_REQUIRE_SERVERS") == "1":
        wanted = set(SERVER_TESTS.read_text().splitlines())
        assert wanted, f"{SERVER_TESTS} names no test: run them with STANCHION_NO_SERVERS=1 first"
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
        items[:] = [item for item in items if item.nodeid in wanted]
    if os.environ.get("STANCHION_SOAK") != "1":
        for item in items:
            if item.get_closest_marker("soak") is not None:
                item.add_marker(pytest.mark.skip(reason="a full count: run it with STANCHION_SOAK=1"))


@pytest.fixture(autouse=True)
def _network() -> Iterator[None]:
    """Whatever a test does, it may reach this machine and the servers it was given, and nothing else."""
    given = {urlsplit(url).hostname or "" for url in (POSTGRES, REDIS, NATS, MQTT)}
    with no_network(allow=given) as tried:
        yield
    assert not tried, f"the test tried to reach {', '.join(sorted(set(tried)))}"


def absent(reason: str) -> NoReturn:
    if os.environ.get("STANCHION_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    if SERVER_TESTS is not None:
        with SERVER_TESTS.open("a") as file:
            file.write(os.environ["PYTEST_CURRENT_TEST"].rsplit(" ", 1)[0] + "\n")
    pytest.skip(reason)


def listening(url: str, default_port: int) -> bool:
    if os.environ.get("STANCHION_NO_SERVERS") == "1":
        return False
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or default_port), timeout=2):
            return True
    except OSError:
        return False


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database, dropped after the test."""
    if not listening(POSTGRES, 5432):
        absent(f"no PostgreSQL server listens at {urlsplit(POSTGRES).hostname}")
    try:
        import psycopg
    except ModuleNotFoundError:
        absent("the extra `postgres` is not installed")
    name = f"stanchion_test_{secrets.token_hex(6)}"
    with psycopg.connect(POSTGRES, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(POSTGRES)._replace(path=f"/{name}"))
        finally:
            link.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def redis_url() -> str:
    """The URL of the Redis server; keep to keys below `redis_prefix`."""
    if not listening(REDIS, 6379):
        absent(f"no Redis server listens at {urlsplit(REDIS).hostname}")
    pytest.importorskip("redis", reason="the extra `redis` is not installed")
    return REDIS


@pytest.fixture
def redis_prefix(redis_url: str) -> Iterator[str]:
    """A key prefix of this test's own; its keys are deleted after the test."""
    from redis import Redis

    prefix = f"stanchion-test-{secrets.token_hex(6)}:"
    yield prefix
    with Redis.from_url(redis_url) as server:
        for key in server.scan_iter(match=prefix + "*", count=1000):
            server.delete(key)


@pytest.fixture
def nats_url() -> str:
    """The URL of the NATS server, which has JetStream; keep to streams of your own and delete them."""
    if not listening(NATS, 4222):
        absent(f"no NATS server listens at {urlsplit(NATS).hostname}")
    pytest.importorskip("nats", reason="the extra `nats` is not installed")
    return NATS


@pytest.fixture
def mqtt_url() -> str:
    """The URL of the MQTT broker; keep to topics of your own."""
    if not listening(MQTT, 1883):
        absent(f"no MQTT broker listens at {urlsplit(MQTT).hostname}")
    pytest.importorskip("aiomqtt", reason="the extra `mqtt` is not installed")
    return MQTT


@pytest.fixture(scope="session")
def kafka_servers() -> Iterator[str]:
    """The addresses of librdkafka's mock cluster: three brokers of Kafka's protocol in this process."""
    kafka = pytest.importorskip("confluent_kafka", reason="the extra `kafka` is not installed")
    cluster = kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 3, "log_level": 0})
    yield ",".join(f"{each.host}:{each.port}" for each in cluster.list_topics(timeout=60).brokers.values())


@pytest.fixture
def kafka_url(kafka_servers: str) -> str:
    """The URL of a new, empty topic of the mock cluster, which makes topics when they are asked for."""
    import confluent_kafka

    name = f"stanchion-test-{secrets.token_hex(6)}"
    confluent_kafka.Producer({"bootstrap.servers": kafka_servers}).list_topics(name, timeout=60)
    return f"kafka://{kafka_servers}?name={name}&durable=no"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 server in this process, with credentials in the environment."""
    try:
        from moto.server import ThreadedMotoServer
    except ModuleNotFoundError:
        absent("moto[server] is not installed")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_REGION", "us-east-1")
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def s3_url(s3_endpoint: str) -> str:
    """The URL of a new, empty bucket."""
    bucket = f"test-{secrets.token_hex(6)}"
    with urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/{bucket}", method="PUT")):  # noqa: S310  # http:
        return f"s3://{bucket}/some/prefix?endpoint={s3_endpoint}"
