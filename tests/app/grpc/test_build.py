"""When a process listens for gRPC: if it is asked to, has the library, and has something to offer."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from stanchion.app.grpc.build import grpc_server
from stanchion.core.errors import Misconfigured
from stanchion.core.settings import GrpcSettings, HouseSettings


def house(port: int | None, **more: Any) -> Any:
    settings = HouseSettings(grpc=GrpcSettings(port=port))
    return SimpleNamespace(settings=settings, modules={}, distant={}, **more)


def test_no_port_is_no_listener() -> None:
    assert grpc_server(house(None)) is None


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "stanchion.app.grpc.server", raising=False)
    with pytest.raises(Misconfigured) as refused:
        grpc_server(house(0))
    assert "stanchion[grpc]" in refused.value.hint


def test_without_a_service_it_is_refused() -> None:
    pytest.importorskip("grpc", reason="the extra `grpc` is not installed")
    with pytest.raises(Misconfigured, match="no module of this process"):
        grpc_server(house(0))
