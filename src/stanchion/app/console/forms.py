"""Forms as browsers send them, and the checks that come before any of their fields is believed."""

from __future__ import annotations

import hmac
import re
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from ...core.errors import InvalidInput, MalformedRequest, NotAllowed, PayloadTooLarge
from .assets import BASE

_MOST_BYTES = 1 << 20
_MOST_FIELDS = 50
_LOCAL = re.compile(r"/console(?:[/?#][\x21-\x7e]*)?")


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a urlencoded form, at most 1 MiB and 50 fields; of a repeated one the last.

    Raises MalformedRequest, PayloadTooLarge.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise MalformedRequest("the console takes forms only", next_step="Send the form from its page.")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            raise PayloadTooLarge(f"a form may hold {_MOST_BYTES} bytes")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise MalformedRequest(f"the form could not be read: {error}") from error
    # Browsers send line ends of a textarea as CR LF; texts are kept with LF.
    return {name: value.replace("\r\n", "\n") for name, value in fields}


def check_origin(request: Request) -> None:
    """Refuse a form that another site sent. Raises NotAllowed.

    The only defence a sign-in form has: there is no session yet whose token it could carry.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or site not in ("same-origin", "none"):
        raise NotAllowed("this form came from another site", next_step="Open the console itself and try again.")


def check_csrf(form: dict[str, str], expected: str) -> None:
    """Refuse a form without the session's token. Raises NotAllowed."""
    if not expected or not hmac.compare_digest(form.get("csrf", "").encode(), expected.encode()):
        raise NotAllowed(
            "the form does not carry this session's token",
            next_step="Reload the page and send the form again; signing in anew also helps.",
        )


def local_path(candidate: str | None) -> str:
    """`candidate` if it is a path under /console, else the start page: no open redirect."""
    path = candidate or ""
    dots = ".." in path or "%2e" in path.lower() or "\\" in path
    return path if _LOCAL.fullmatch(path) and not dots and "//" not in path.partition("?")[0] else f"{BASE}/"


def words(text: str) -> tuple[str, ...]:
    """Names separated by commas or blanks, in order, each once."""
    return tuple(dict.fromkeys(re.split(r"[\s,]+", text.strip()))) if text.strip() else ()


def whole(text: str, *, name: str, least: int, most: int) -> int | None:
    """A whole number of a form field; None where it is empty. Raises InvalidInput outside the bounds."""
    if not text.strip():
        return None
    value = number(text, name=name, least=least, most=most)
    if value != int(value):
        raise InvalidInput(f"{name} must be a whole number", next_step=f"Give {name} without decimals.")
    return int(value)


def number(text: str, *, name: str, least: float, most: float) -> float:
    """A number of a form field. Raises InvalidInput outside the bounds."""
    try:
        value = float(text)
    except ValueError:
        raise InvalidInput(f"{name} must be a number", next_step=f"Give {name} in digits.") from None
    if not least <= value <= most:
        raise InvalidInput(f"{name} must lie between {least:g} and {most:g}", next_step=f"Correct {name}.")
    return value
