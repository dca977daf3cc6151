"""Signing in with a key, and signing out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from ....core.context import Context
from ....core.errors import NotAuthenticated, StanchionError
from ..assets import BASE
from ..forms import check_origin, local_path, read_form
from ..shell import Shell

COOKIE = "stanchion_session"


def form(shell: Shell) -> Callable[[Request], Awaitable[Response]]:
    """The page that asks for a key; `next` says where to go afterwards."""

    async def endpoint(request: Request) -> Response:
        return shell.bare("login.html", next=local_path(request.query_params.get("next")), error=None)

    return endpoint


def enter(shell: Shell) -> Callable[[Request], Awaitable[Response]]:
    """Takes the key and sets the session cookie; a refused key is asked for again."""

    async def endpoint(request: Request) -> Response:
        target = local_path(None)
        try:
            check_origin(request)
            fields = await read_form(request)
            target = local_path(fields.get("next"))
            key = fields.get("key", "").strip()
            if not key:
                raise NotAuthenticated("no key was given", next_step="Paste a key and sign in again.")
            session = await shell.doors.sessions.login(key)
        except StanchionError as error:
            return shell.bare("login.html", next=target, error=error, status=error.status)
        answer = shell.leave(request, target)
        answer.set_cookie(
            COOKIE, session.token, path=BASE, httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
        return answer

    return endpoint


async def leave(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """End the session on the server, and forget its cookie."""
    await shell.doors.sessions.logout(request.cookies.get(COOKIE, ""))
    answer = shell.leave(request, f"{BASE}/login")
    answer.delete_cookie(COOKIE, path=BASE, httponly=True, samesite="strict")
    return answer
