"""Hangs the console into the application: its doors, and browser sessions over API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from ... import __version__
from ...core.context import Context, Effect
from ...core.errors import NotAuthenticated
from ...core.http.door import session_token
from ...core.security.audit.service import AuditLog
from ...core.security.contract import Audit, Keys, Policies
from ...core.security.sessions import Sessions
from ...core.telemetry.contract import Observatory
from ...events import Events
from ...features import Features
from ...gateway import Gateway
from ...pipelines import Pipelines
from ...registry import Registry
from ...review import Reviews
from ...serving import Serving
from ...system.house import House
from ...training import Training
from ..console import ConsoleDoors, Session, SessionGate, routes

if TYPE_CHECKING:
    from fastapi import FastAPI


class BrowserSessions(SessionGate):
    """Sessions of the console. Logging in and out, and a refused key, stand in the audit log."""

    def __init__(self, sessions: Sessions, audit: AuditLog, *, owner: str) -> None:
        self._sessions = sessions
        self._audit = audit
        self._owner = owner

    async def login(self, key: str) -> Session:
        fresh = Context(tenant=self._owner, principal="anonymous")
        try:
            session = await self._sessions.login(key)
        except NotAuthenticated:
            await self._audit.record(_effect(fresh, self._owner, "anonymous", "login"), "denied")
            raise
        identity = session.identity
        await self._audit.record(_effect(fresh, identity.tenant, identity.principal, "login"), "done")
        return Session(session.token, session.csrf)

    async def logout(self, token: str) -> None:
        identity = await self._sessions.identify(token)
        await self._sessions.logout(token)
        fresh = Context(tenant=identity.tenant, principal=identity.principal)
        await self._audit.record(_effect(fresh, identity.tenant, identity.principal, "logout"), "done")

    def csrf(self, request: Request) -> str:
        return self._sessions.csrf(session_token(request.headers.get("cookie", "")) or "")


def _effect(ctx: Context, tenant: str, principal: str, verb: str) -> Effect:
    return Effect(
        action=f"sessions:{verb}",
        kind="write",
        resource="Session::console",
        tenant=tenant,
        principal=principal,
        request_id=ctx.request_id,
        trace_id=ctx.trace.trace_id,
    )


def mount_console(api: FastAPI, house: House) -> None:
    """Add the console's routes; every page sees the house through its gated doors only."""
    ground, settings = house.foundation, house.settings
    far = f", {len(settings.place)} modules elsewhere" if settings.place else ""
    doors = ConsoleDoors(
        registry=house.find(Registry),
        serving=house.find(Serving),
        training=house.find(Training),
        features=house.find(Features),
        observatory=house.door(Observatory),
        keys=house.door(Keys),
        policies=house.door(Policies),
        audit=house.door(Audit),
        sessions=BrowserSessions(ground.sessions, ground.audit, owner=settings.tenant),
        system_name=house.declared.name if house.declared is not None else "stanchion",
        placement=f"{'development' if settings.development else 'configured'}, one process{far}",
        version=__version__,
        storage={"sqlite": "SQLite", "postgresql": "PostgreSQL"}[ground.stores.state.dialect],
        development_key=str(house.folder / "dev.key") if settings.development else None,
        permits=ground.gate.allowed,
        gateway=house.find(Gateway) if _declared(house, "gateway") else None,
        reviews=house.find(Reviews) if _declared(house, "review") else None,
        pipelines=house.find(Pipelines) if _declared(house, "pipelines") else None,
        events=house.find(Events) if _declared(house, "events") else None,
        clock=ground.clock,
    )
    api.router.routes.extend(routes(doors))


def _declared(house: House, name: str) -> bool:
    """Whether the system has something of a module, here or elsewhere: a module that sleeps has nothing to show."""
    module = house.modules.get(name)
    items = house.declared.all() if house.declared is not None else ()
    return module is None or any(isinstance(item, module.declares) for item in items)
