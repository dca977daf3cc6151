"""The feature store's offline side over HTTP: training sets, and filling the online side with progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ..core.context import Context
from ..core.errors import FieldProblem, InvalidInput, MalformedRequest, StanchionError
from ..core.http import context_of, json_response
from ..core.values import Json
from . import spines
from .contract import Features, Progress

Caller = Annotated[Context, Depends(context_of)]
ViewName = Annotated[str, Path(description="The name of a declared feature view.")]
ServiceName = Annotated[str, Path(description="The name of a declared feature service.")]
AsOf = Literal["known", "event"]
_BINARY: dict[str, Any] = {
    spines.MEDIA[form]: {"schema": {"type": "string", "format": "binary"}} for form in ("arrow", "parquet")
}
_TEXT: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}


class MaterialiseRequest(BaseModel):
    """Which stretch to fill."""

    model_config = ConfigDict(extra="forbid")

    start: AwareDatetime | None = Field(
        None, description="Backfill from here; without it from where the last run ended."
    )
    end: AwareDatetime | None = Field(None, description="The stretch ends here; without it now.")


class MaterialiseReport(BaseModel):
    """What a run did."""

    job: str = Field(description="The run; empty if there was nothing to do.")
    partitions: int
    skipped: int = Field(description="Partitions that an earlier run had done.")
    rows: int = Field(description="Rows that were stored.")


class SpineRequest(BaseModel):
    """A spine as JSON rows, each with the entity keys, its moment, the fields of the request, and whatever else."""

    model_config = ConfigDict(extra="forbid")

    time: str = Field(min_length=1, max_length=256, description="The column of moments, texts with an offset from UTC.")
    rows: list[dict[str, Json]] = Field(min_length=1, max_length=spines.MOST_ROWS, description="1 to 10,000 rows.")
    as_of: AsOf = Field(
        "known", description="`known` counts what was known at the moment, `event` all that had happened."
    )
    status: bool = Field(False, description="Tell for each view whether it is present, stale or unknown.")


class JoinedRows(BaseModel):
    """The spine's rows in their order, each with the features behind its own columns."""

    data: list[dict[str, Json]]


_JSON = {spines.MEDIA["json"]: {"schema": {"$ref": "#/components/schemas/SpineRequest"}}}


def schemas() -> dict[str, Any]:
    """The schemas of bodies that do not document themselves."""
    whole = SpineRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**whole.pop("$defs", {}), "SpineRequest": whole}


def add_materialise(api: APIRouter, features: Features) -> None:
    """Add the route that fills the online side of a view."""

    @api.post(
        "/v1/features/{view}/materialise",
        response_model=MaterialiseReport,
        responses={
            200: {
                "description": "The report; for `Accept: text/event-stream` an event for each partition, then `done`.",
                "content": _TEXT,
            }
        },
    )
    async def materialise(
        ctx: Caller, view: ViewName, request: Request, body: MaterialiseRequest | None = None
    ) -> Response:
        """Bring the online side up to date from the view's source, or store a stretch again.

        With `Accept: text/event-stream` the partitions come as they are committed, and leaving ends the run, which the
        next one resumes. Otherwise the answer comes when all is done. `Request-Timeout` bounds the run; without it a
        day does.
        """
        asked = body or MaterialiseRequest.model_validate({})
        events = features.materialise(_unhurried(ctx, request), view, start=asked.start, end=asked.end)
        first = await anext(events, None)
        if "text/event-stream" in request.headers.get("accept", ""):
            return StreamingResponse(_stream(first, events), media_type="text/event-stream")
        report = _added(_NONE, first)
        async for each in events:
            report = _added(report, each)
        return json_response(report.model_dump())


_NONE = MaterialiseReport(job="", partitions=0, skipped=0, rows=0)


def _added(report: MaterialiseReport, each: Progress | None) -> MaterialiseReport:
    if each is None:
        return report
    return MaterialiseReport(
        job=each.job,
        partitions=each.total,
        skipped=report.skipped + int(each.skipped),
        rows=report.rows + each.rows,
    )


async def _stream(first: Progress | None, rest: AsyncIterator[Progress]) -> AsyncIterator[bytes]:
    """Server-sent events. An error is an event too: the status line is long gone."""
    report = _added(_NONE, first)
    try:
        if first is not None:
            yield _event("partition", first)
        async for each in rest:
            report = _added(report, each)
            yield _event("partition", each)
        yield _event("done", report.model_dump())
    except StanchionError as error:
        yield _event("error", error.problem())
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


def _event(name: str, content: object) -> bytes:
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode(content) + b"\n\n"


def add_historical(api: APIRouter, features: Features) -> None:
    """Add the route that makes training sets."""

    @api.post(
        "/v1/features/services/{service}/historical",
        response_model=JoinedRows,
        responses={200: {"description": "The spine with the features behind its columns.", "content": _BINARY}},
        openapi_extra={"requestBody": {"required": True, "content": {**_JSON, **_BINARY}}},
    )
    async def historical(
        ctx: Caller,
        service: ServiceName,
        request: Request,
        time: Annotated[str, Query(max_length=256, description="The column of moments of a binary spine.")] = "",
        as_of: Annotated[AsOf, Query(description="Of a binary spine, as `as_of` of JSON.")] = "known",
        status: Annotated[bool, Query(description="Of a binary spine, as `status` of JSON.")] = False,
    ) -> Response:
        """A training set: the spine's rows, each with the features as they were at its moment.

        The spine is JSON, an Arrow IPC stream or a Parquet file, and so is the answer; Accept may ask for one of the
        binary forms. The settings `http.body_bytes`, `features.spine_megabytes` and `features.spine_rows` bound it.
        """
        given = spines.form_of(request.headers.get("content-type", ""))
        answer = spines.answer_form(request.headers.get("accept", ""), given)
        content = await request.body()
        if given == "json":
            asked = _asked(content)
            time, as_of, status = asked.time, asked.as_of, asked.status
            content = await asyncio.to_thread(spines.from_rows, asked.rows, asked.time)
        else:
            _check_time(time)
            content = await asyncio.to_thread(spines.from_parquet, content) if given == "parquet" else content
        pieces = features.historical(_unhurried(ctx, request), service, content, time=time, as_of=as_of, status=status)
        try:
            # The join is done when the first piece comes: what is wrong with the spine is told before an answer begins.
            first = await anext(pieces)
        except InvalidInput as error:
            if given != "json" or not error.fields:
                raise
            raise spines.in_rows(error) from error
        if answer == "arrow":
            return StreamingResponse(_whole(first, pieces), media_type=spines.MEDIA["arrow"])
        joined = first + await spines.gathered(pieces)
        if answer == "parquet":
            return Response(await asyncio.to_thread(spines.to_parquet, joined), media_type=spines.MEDIA["parquet"])
        return json_response({"data": await asyncio.to_thread(spines.to_rows, joined)})


def _asked(content: bytes) -> SpineRequest:
    import pydantic

    try:
        return SpineRequest.model_validate_json(content, strict=True)
    except pydantic.ValidationError as error:
        faults = [
            FieldProblem("$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in each["loc"]), each["msg"])
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        if error.errors()[0]["type"] == "json_invalid":
            raise MalformedRequest("the body is not one JSON document") from error
        raise InvalidInput("the body does not have the documented shape", fields=faults[:100]) from error


def _check_time(time: str) -> None:
    if not time:
        fault = FieldProblem("$.time", "is missing: name the column of moments, as ?time=...")
        raise InvalidInput(f"{fault.path} {fault.message}", fields=[fault])


async def _whole(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _unhurried(ctx: Context, request: Request) -> Context:
    """The door's general limit is for answers; this work has its own, in the contract."""
    return ctx if "request-timeout" in request.headers else replace(ctx, deadline=None)
