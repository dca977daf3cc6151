"""What the console needs from outside: the gated doors it shows, and the sessions of the people who look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from starlette.requests import Request

from ...core.clock import Clock, SystemClock
from ...core.context import Context
from ...core.contract import Action
from ...core.security.contract import Audit, Keys, Policies
from ...core.telemetry.contract import Observatory
from ...events import Events
from ...features import Features
from ...gateway import Gateway
from ...pipelines import Pipelines
from ...registry import Registry
from ...review import Reviews
from ...serving import Serving
from ...training import Training


class Session(NamedTuple):
    """A session just opened: the cookie's value, and the token that its forms must carry."""

    token: str
    csrf: str


class SessionGate(Protocol):
    """Opens and ends browser sessions. The HTTP door turns the cookie into a Context before any page runs."""

    async def login(self, key: str) -> Session:
        """A session with the key's rights. Raises NotAuthenticated for a key that is not valid now."""
        ...

    async def logout(self, token: str) -> None:
        """End the session; an unknown token changes nothing."""
        ...

    def csrf(self, request: Request) -> str:
        """The token that forms of this request's session must carry; it changes with the session."""
        ...


class Permits(Protocol):
    """Tells whether a call would be permitted, without making it and without an audit event."""

    def __call__(self, ctx: Context, action: Action, resource: str) -> bool:
        """The policy's answer; `Gate.allowed` is one of these."""
        ...


@dataclass(frozen=True, slots=True)
class ConsoleDoors:
    """All that the console shows. A module that is not placed here and has no remote client is None.

    `placement` and `storage` are short phrases for people. `development_key` is the path of the
    development key, and None outside development mode. Without `permits` every button is shown, and the
    gate behind the door still decides.
    """

    registry: Registry | None
    serving: Serving | None
    training: Training | None
    features: Features | None
    observatory: Observatory
    keys: Keys
    policies: Policies
    audit: Audit
    sessions: SessionGate
    system_name: str
    placement: str
    version: str
    storage: str
    development_key: str | None = None
    permits: Permits | None = None
    gateway: Gateway | None = None
    reviews: Reviews | None = None
    pipelines: Pipelines | None = None
    events: Events | None = None
    clock: Clock = field(default_factory=SystemClock)
