"""A spine as a request brings it (JSON rows, Arrow, Parquet), and the training set in the same forms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from ..core.errors import FieldProblem, InvalidInput, MalformedRequest, Misconfigured, PayloadTooLarge
from ..core.values import Json

if TYPE_CHECKING:
    import pyarrow

Form = Literal["json", "arrow", "parquet"]
MEDIA: Mapping[Form, str] = {
    "json": "application/json",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
MOST_ROWS = 10_000
"""So many rows a spine of JSON may have."""
_BATCH = 1_024
_MOST_BYTES = 256 << 20
_FAULTS = 100


def form_of(media: str) -> Form:
    """The form that a Content-Type names; without one it is JSON. Raises MalformedRequest for any other."""
    named = media.partition(";")[0].strip().lower()
    for form, each in MEDIA.items():
        if named in (each, "" if form == "json" else each):
            return form
    raise MalformedRequest(
        f"a spine cannot be read as {named[:100]}", next_step=f"Send {', '.join(MEDIA.values())} as Content-Type."
    )


def answer_form(accept: str, given: Form) -> Form:
    """The form of the answer: that of the spine, unless Accept names others only.

    Raises MalformedRequest if there is none of those; an answer in JSON is for a spine of JSON.
    """
    wanted = [each.partition(";")[0].strip().lower() for each in accept.split(",") if each.strip()]
    if not wanted or MEDIA[given] in wanted or "*/*" in wanted or "application/*" in wanted:
        return given
    for form in ("arrow", "parquet"):
        if MEDIA[form] in wanted:
            return form
    raise MalformedRequest(
        f"a training set cannot be given as {accept[:100]}",
        next_step=f"Accept {MEDIA['arrow']} or {MEDIA['parquet']}; JSON is given for spines of JSON.",
    )


def from_rows(rows: Sequence[Mapping[str, Json]], time: str) -> bytes:
    """The Arrow stream of JSON rows; the moments in the column `time` are texts with an offset. Raises InvalidInput."""
    pyarrow = _arrow()
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns, faults = {}, list[FieldProblem]()
    for name in names:
        given = [row.get(name) for row in rows]
        if name == time:
            moments = [_moment(value, f"$.rows[{place}].{name}", faults) for place, value in enumerate(given)]
            columns[name] = pyarrow.array(moments, pyarrow.timestamp("us", tz="UTC"))
            continue
        try:
            columns[name] = pyarrow.array(given)
        except (pyarrow.ArrowException, OverflowError, TypeError, ValueError):
            faults.append(FieldProblem(f"$.rows[*].{name}", "must be of one type in all rows"))
    if faults:
        raise InvalidInput(f"{faults[0].path} {faults[0].message}; nothing was joined", fields=faults[:_FAULTS])
    return _stream(pyarrow.table(columns))


def _moment(value: Json, path: str, faults: list[FieldProblem]) -> datetime | None:
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        if found is not None and found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    faults.append(FieldProblem(path, "must be a moment with its offset from UTC, such as 2026-03-01T12:00:00Z"))
    return None


def from_parquet(content: bytes) -> bytes:
    """The Arrow stream of a Parquet file. Raises MalformedRequest, PayloadTooLarge. Blocks."""
    pyarrow, parquet = _arrow(), _parquet()
    sink, size = pyarrow.BufferOutputStream(), 0
    try:
        with parquet.ParquetFile(pyarrow.BufferReader(content)) as file:
            # A small file can hold much: what its footer owns up to first, then what really comes out of it.
            footer = file.metadata
            _check_size(sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups)))
            with pyarrow.ipc.new_stream(sink, file.schema_arrow) as writer:
                for batch in file.iter_batches(_BATCH):
                    size += batch.nbytes
                    _check_size(size)
                    writer.write_batch(batch)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise MalformedRequest(f"the spine is no Parquet file: {str(error).partition(chr(10))[0]}") from error
    found: bytes = sink.getvalue().to_pybytes()
    return found


def _check_size(size: int) -> None:
    if size > _MOST_BYTES:
        raise PayloadTooLarge(
            f"the Parquet spine is more than {_MOST_BYTES >> 20} MB when it is unpacked",
            next_step="Send fewer rows at once.",
        )


def to_rows(content: bytes) -> list[dict[str, Any]]:
    """A training set as rows, for JSON."""
    rows: list[dict[str, Any]] = _read(content).to_pylist()
    return rows


def to_parquet(content: bytes) -> bytes:
    """A training set as a Parquet file. Blocks."""
    sink = _arrow().BufferOutputStream()
    _parquet().write_table(_read(content), sink)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def in_rows(error: InvalidInput) -> InvalidInput:
    """The same refusal of a spine that came as JSON, with the paths of the request's own rows."""
    fields = [FieldProblem(each.path.replace("$.spine", "$.rows", 1), each.message) for each in error.fields]
    return InvalidInput(error.detail.replace("$.spine", "$.rows", 1), fields=fields, next_step=error.hint)


async def gathered(pieces: AsyncIterator[bytes]) -> bytes:
    """All pieces of a training set as one Arrow stream."""
    return b"".join([piece async for piece in pieces])


def _read(content: bytes) -> pyarrow.Table:
    pyarrow = _arrow()
    return pyarrow.ipc.open_stream(content).read_all()


def _stream(table: pyarrow.Table) -> bytes:
    pyarrow = _arrow()
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _parquet() -> Any:
    _arrow()
    from pyarrow import parquet

    return parquet


def _arrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise Misconfigured(
            "training sets need the extra `features`", next_step="Run `pip install 'stanchion[features]'`."
        ) from error
    return pyarrow
