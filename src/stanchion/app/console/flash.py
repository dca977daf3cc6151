"""One short message that outlives a redirect: said once on the next page, then gone."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from .assets import BASE

COOKIE = "stanchion_flash"
_MOST = 600
Kind = Literal["ok", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Flash:
    """What was done. It travels in a cookie, so it never holds a secret."""

    kind: Kind
    text: str


def put(response: Response, flash: Flash, *, secure: bool) -> None:
    """Let the next page say it; longer texts are cut at 600 characters."""
    content = json.dumps([flash.kind, flash.text[:_MOST]]).encode()
    value = base64.urlsafe_b64encode(content).decode()
    response.set_cookie(COOKIE, value, max_age=60, path=BASE, httponly=True, samesite="strict", secure=secure)


def take(request: Request) -> Flash | None:
    """The message left by the request before; anything that is not one of ours is ignored."""
    try:
        kind, text = json.loads(base64.urlsafe_b64decode(request.cookies[COOKIE]))
    except (KeyError, ValueError, TypeError, binascii.Error, RecursionError):
        return None
    if kind not in ("ok", "warn", "bad") or not isinstance(text, str):
        return None
    return Flash(kind, text[:_MOST])


def clear(response: Response) -> None:
    """Forget the message once a page has said it."""
    response.delete_cookie(COOKIE, path=BASE, httponly=True, samesite="strict")
