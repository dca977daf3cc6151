"""Every error of the framework as the same problem document that our own errors give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.responses import Response

from ...core.errors import FieldProblem, InvalidInput, MalformedRequest, NotFound, StanchionError
from ...core.http.door import FOREIGN, problem_body, problem_headers, problem_of
from ...core.http.routes import row_of

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

_CODES = {404: "not_found", 405: "method_not_allowed"}


def install(app: FastAPI) -> None:
    """Make the application answer errors with problem documents and nothing else."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    async def own(request: Request, error: Exception) -> Response:
        assert isinstance(error, StanchionError)  # noqa: S101 - registered for that type only
        return problem(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for that type only
        return problem(request, _invalid(error.errors()))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for that type only
        return _http(request, error.status_code, str(error.detail), dict(error.headers or {}))

    app.add_exception_handler(StanchionError, own)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def problem(request: Request, error: StanchionError) -> Response:
    """The error as an answer; the ledger row learns its code."""
    row = row_of(request)
    row.outcome = error.code
    headers = {name.decode(): value.decode() for name, value in problem_headers(error)}
    return _response(request, problem_of(error, row), error.status, headers)


def _invalid(faults: object) -> StanchionError:
    listed = faults if isinstance(faults, list | tuple) else []
    if any(f.get("type") == "json_invalid" for f in listed):
        return MalformedRequest("the body is not one JSON document")
    fields = [FieldProblem(_path(f.get("loc", ())), str(f.get("msg", "not valid"))) for f in listed]
    return InvalidInput("the request has fields that are not valid", fields=fields)


def _path(place: tuple[str | int, ...]) -> str:
    """`('body', 'rows', 3, 'x')` as `$.rows[3].x`; query and path parameters by their name."""
    inside = place[1:] if place and place[0] in ("body", "query", "path", "header") else place
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inside)


def _http(request: Request, status: int, detail: str, headers: dict[str, str]) -> Response:
    if status == 404:
        return problem(request, NotFound(f"there is nothing at {request.url.path[:200]}"))
    row = row_of(request)
    document = StanchionError(detail).problem(trace_id=row.trace_id, instance=f"urn:stanchion:request:{row.request_id}")
    row.outcome = code = _CODES.get(status, f"http_{status}")
    document.update(
        type=f"urn:stanchion:problem:{code}",
        code=code,
        status=status,
        title=detail,
        next_step="See /docs for the methods and paths that exist.",
    )
    return _response(request, document, status, headers)


def _response(request: Request, document: Mapping[str, object], status: int, headers: Mapping[str, str]) -> Response:
    body, media = problem_body(document, foreign=FOREIGN in request.scope)
    return Response(body, status, headers, media_type=media.decode())
