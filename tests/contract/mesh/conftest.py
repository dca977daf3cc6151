"""Whole houses for the contract suites: called directly, through the gate, and from afar over mutual TLS.

A way is how the door is reached (`direct`, `gated`, `far`) and what it stands on (`memory`, `embedded`, `servers`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from stanchion.app.http.mesh import mesh_listener
from stanchion.core.clock import Clock, SystemClock
from stanchion.core.declaration import Declarations
from stanchion.core.flags import Flags
from stanchion.core.flags.service import FlagService
from stanchion.core.module import load
from stanchion.core.remote import connect, serve
from stanchion.core.security.contract import Audit, Keys, Policies
from stanchion.core.security.identity import Authority, Credentials
from stanchion.core.security.passport import Passports
from stanchion.core.settings import HouseSettings, PlaceSettings
from stanchion.core.telemetry.contract import Observatory
from stanchion.core.telemetry.service import TelemetryService
from stanchion.system.house import House
from stanchion.system.mesh import Mesh

NEAR, FAR = "spiffe://contract.test/near", "spiffe://contract.test/far"
CORE = {Keys: "keys", Policies: "policies", Audit: "audit", Observatory: "observatory", Flags: "flags"}
ALL_WAYS = ["direct-memory", "direct-servers", "gated-embedded", "far-embedded"]


class Server(uvicorn.Server):
    """Tells when it listens, and leaves the test's signals as they are."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True)
class Place:
    """A running house, and the way to its doors."""

    house: House
    door: Callable[[type[Any]], Any]


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Credentials]:
    folder, now = tmp_path_factory.mktemp("contract-mesh"), SystemClock().now()
    authority = Authority.create("contract.test", now=now)
    return {identity: authority.issue(folder, identity.rpartition("/")[2], now=now) for identity in (NEAR, FAR)}


@pytest.fixture(params=ALL_WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How a door is reached, and what it stands on."""
    return str(request.param)


@pytest.fixture
def backends(way: str, request: pytest.FixtureRequest) -> Mapping[str, Mapping[str, str]]:
    """The settings of the engines."""
    ports = ("sql", "telemetry", "keyvalue", "blobs")
    match way.partition("-")[2]:
        case "memory":
            return {port: {"use": "memory"} for port in ports}
        case "embedded":
            return {}
    postgres, s3 = request.getfixturevalue("postgres_url"), request.getfixturevalue("s3_url")
    redis = f"{request.getfixturevalue('redis_url')}?prefix={request.getfixturevalue('redis_prefix')}"
    return {
        "sql": {"use": "postgres", "url": postgres},
        "telemetry": {"use": "postgres", "url": postgres},
        "keyvalue": {"use": "redis", "url": redis},
        "blobs": {"use": "s3", "url": s3},
    }


@pytest.fixture
def placed(way: str, backends: Mapping[str, Any], credentials: Mapping[str, Credentials], tmp_path: Path) -> Any:
    """Opens a house with some modules; gives a Place."""
    far = credentials[FAR]
    mesh = {"certificate": far.certificate, "key": far.key, "authority": far.authority, "peers": (NEAR,)}

    @asynccontextmanager
    async def opened(
        *modules: str, clock: Clock, declared: Declarations | None = None, system_file: Path | None = None
    ) -> AsyncIterator[Place]:
        settings = HouseSettings.model_validate(
            {
                "tenant": "t1",
                "modules": {"enabled": modules},
                "backend": backends,
                "identity": {"mode": "configured"},
                "mesh": {**mesh, "identity": FAR, "listen": "127.0.0.1:0"},
            }
        )
        house = await House.open(
            settings,
            tmp_path / "data",
            clock=clock,
            environment={},
            declared=declared,
            system_file=str(system_file or ""),
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(house.close)
            await house.start()
            match way.partition("-")[0]:
                case "direct":
                    yield Place(house, lambda contract: _bare(house, contract))
                case "gated":
                    yield Place(house, house.door)
                case _:
                    yield Place(house, await stack.enter_async_context(_line(house, credentials[NEAR])))

    return opened


def _bare(house: House, contract: type[Any]) -> Any:
    """The service itself, without its gate."""
    ground = house.foundation
    core = {
        Keys: ground.key_service,
        Policies: ground.policies,
        Audit: ground.audit,
        Observatory: TelemetryService(ground.stores.telemetry, ground.clock, ground.metrics),
        Flags: FlagService(database=ground.stores.state, clock=ground.clock),
    }
    if contract in core:
        return core[contract]
    [name] = [name for name, module in house.modules.items() if module.contract is contract]
    return house._services[name]


@asynccontextmanager
async def _line(house: House, near: Credentials) -> AsyncIterator[Callable[[type[Any]], Any]]:
    """The doors of the house as another process of its mesh has them."""
    assert house.mesh is not None
    [listener] = mesh_listener(house)
    assert isinstance(listener.app, Starlette)
    for contract, name in CORE.items():
        listener.app.router.routes += serve(name, contract, house.door(contract), house.mesh.passports)
    tls = listener.tls
    config = uvicorn.Config(
        listener.app,
        http=listener.protocol,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        ssl_context_factory=lambda *_: tls,
    )
    server, clock = Server(config), house.foundation.clock
    task = asyncio.create_task(server.serve(sockets=[listener.socket]))
    await server.ready.wait()
    mesh = Mesh(near, Passports(near, clock=clock), (), clock)
    line = mesh.line(PlaceSettings(url=f"https://127.0.0.1:{listener.port}", identity=FAR))
    names = {**CORE, **{load(name).contract: name for name in house.modules}}
    try:
        yield lambda contract: connect(names[contract], contract, line)
    finally:
        await mesh.close()
        server.should_exit = True
        await task
