"""The frame around every page: who looks, where they are, what they may do, and the headers of the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ...core.context import Context
from ...core.errors import NotAuthenticated, StanchionError
from ...core.http.routes import CONTEXT, context_of
from . import flash
from .assets import BASE, load_assets
from .forms import check_csrf, check_origin, read_form
from .permissions import Permissions
from .ports import ConsoleDoors
from .rendering import environment
from .verified import Verifications

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not `no-referrer`: browsers would then send `Origin: null` with forms, and the origin check could not pass.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Page = Callable[["Shell", Request, Context], Awaitable[Response]]
Act = Callable[["Shell", Request, Context, Mapping[str, str]], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the main navigation; `key` is pressed after `g`.

    `parts` are the parts of the system that it shows: without any of them there is no such entry.
    """

    name: str
    path: str
    icon: str
    key: str
    parts: tuple[str, ...] = ()

    def shown(self, doors: ConsoleDoors) -> bool:
        """Whether the system has what the page is about."""
        return not self.parts or any(getattr(doors, part) is not None for part in self.parts)


PLACES = (
    Place("Overview", f"{BASE}/", "overview", "o"),
    Place("Models", f"{BASE}/models", "models", "m"),
    Place("Gateway", f"{BASE}/gateway", "gateway", "w", ("gateway",)),
    Place("Review", f"{BASE}/review", "review", "r", ("reviews",)),
    Place("Features", f"{BASE}/features", "features", "f", ("features",)),
    Place("Data & pipelines", f"{BASE}/pipelines", "pipelines", "p", ("pipelines", "events")),
    Place("Batch jobs", f"{BASE}/batches", "batches", "j", ("serving",)),
    Place("Observe", f"{BASE}/observe", "observe", "b"),
    Place("Govern", f"{BASE}/govern", "govern", "v"),
)


class Shell:
    """Renders pages and fragments for one set of doors."""

    def __init__(self, doors: ConsoleDoors) -> None:
        self.doors = doors
        self.assets = load_assets()
        self.permissions = Permissions(doors.permits)
        self.verifications = Verifications()
        places = [each for each in PLACES if each.shown(doors)]
        self._common = {"asset": self.assets.url, "doors": doors, "places": places}

    def page(
        self, request: Request, template: str, *, status: int = 200, error: StanchionError | None = None, **data: Any
    ) -> Response:
        """A whole page. With `error`, its status and a notice that tells of it."""
        ctx = self.context(request)
        message = flash.take(request)
        badges: dict[str, int] = getattr(request.state, "badges", {})
        frame = {
            "ctx": ctx,
            "csrf": self.doors.sessions.csrf(request),
            "flash": message,
            "error": error,
            "path": request.url.path,
            "badges": badges,
            "may": partial(self.permissions.may, ctx),
            "origin": _origin(request),
            "example": _example(request),
        }
        content = environment().get_template(template).render(self._common | frame | data)
        answer = HTMLResponse(content, status if error is None else error.status, headers=HEADERS)
        if message is not None:
            flash.clear(answer)
        return answer

    def bare(self, template: str, *, status: int = 200, **data: Any) -> Response:
        """A page for somebody who is not signed in."""
        return HTMLResponse(environment().get_template(template).render(self._common | data), status, headers=HEADERS)

    def fragment(self, request: Request, template: str, **data: Any) -> Response:
        """A part of a page for the poller: 304 and no body where the browser has it already."""
        ctx = self.context(request)
        frame = {
            "ctx": ctx,
            "may": partial(self.permissions.may, ctx),
            "origin": _origin(request),
            "example": _example(request),
        }
        content = environment().get_template(template).render(frame | data)
        tag = f'"{hashlib.sha256(content.encode()).hexdigest()[:16]}"'
        headers = {**HEADERS, "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(content, headers=headers)

    def context(self, request: Request) -> Context:
        """The caller. Raises NotAuthenticated if no door stands in front, rather than show anything."""
        if CONTEXT not in request.scope or not context_of(request).tenant:
            raise NotAuthenticated("no console session")
        return context_of(request)

    def leave(self, request: Request, path: str, message: flash.Flash | None = None) -> Response:
        """Send the browser on with GET after a form, with something to say there."""
        answer = RedirectResponse(path, status_code=303, headers=HEADERS)
        if message is not None:
            flash.put(answer, message, secure=request.url.scheme == "https")
        return answer

    def problem(self, request: Request, error: StanchionError) -> Response:
        """The page that tells an error: code, what happened, what to do next, and the trace id."""
        if isinstance(error, NotAuthenticated):
            return self.leave(request, f"{BASE}/login?{urlencode({'next': request.url.path})}")
        return self.page(request, "problem.html", error=error, title=error.title)

    def shows(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint for GET."""

        async def endpoint(request: Request) -> Response:
            try:
                ctx = self.context(request)
                await self._count(request, ctx)
                return await page(self, request, ctx)
            except StanchionError as error:
                return self.problem(request, error)

        return endpoint

    def acts(self, act: Act) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint for a form: its origin and its token are checked before the page's own code runs."""

        async def endpoint(request: Request) -> Response:
            try:
                ctx = self.context(request)
                check_origin(request)
                form = await read_form(request)
                check_csrf(form, self.doors.sessions.csrf(request))
                await self._count(request, ctx)
                return await act(self, request, ctx, form)
            except StanchionError as error:
                return self.problem(request, error)

        return endpoint

    async def _count(self, request: Request, ctx: Context) -> None:
        """What the menu tells of besides names: how many items wait for a reviewer. A page stands without it."""
        reviews = self.doors.reviews
        if reviews is None or "/fragments/" in request.url.path or not self.permissions.may(ctx, "review:read"):
            return
        try:
            queues = await reviews.queues(ctx)
        except StanchionError:
            return
        request.state.badges = {"Review": sum(queue.open for queue in queues)}


def _origin(request: Request) -> str:
    """The address that the browser itself used."""
    return f"{request.url.scheme}://{request.url.netloc}"


def _example(request: Request) -> str:
    """A first request."""
    address = f"{_origin(request)}/v1/predictions"
    kind = "-H 'Content-Type: application/json'"
    body = """-d '{"model_id": "NAME", "features": {}}'"""
    return f"curl {address} \\\n  -H 'Authorization: Bearer KEY' {kind} \\\n  {body}"
