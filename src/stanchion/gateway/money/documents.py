"""Invoices and usage as tables for other programs: CSV (RFC 4180) and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Literal

import msgspec

from ..contract.money import Invoice, Spend, SpendPage
from .amounts import dollars

Format = Literal["csv", "jsonl"]
MEDIA: dict[str, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
_COUNTS = ("tokens_in", "tokens_out", "cached", "cache_writes", "reasoning")
_SUMS = ("requests", "unpriced", *_COUNTS, "cost_usd")
_ROW = (
    *("id", "request_id", "attempt", "at", "team", "key", "route", "provider", "model", "price", "priced"),
    *(*_COUNTS, "estimated", "cost_usd", "outcome", "tags"),
)
# What a spreadsheet would run as a formula: names of tags and models come from callers.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def invoice_csv(invoice: Invoice) -> str:
    """One row for each line, then their sum under the key `total`; the tag has a column where the invoice is by one."""
    groups = ("key", "provider", "model", "price", *(["tag"] if invoice.tag else []))
    counts = [(line.requests, line.unpriced, *_counts(line.usage)) for line in invoice.lines]
    rows = [
        (*(line.group[name] for name in groups), *numbers, dollars(line.cost))
        for line, numbers in zip(invoice.lines, counts, strict=True)
    ]
    sums = [sum(numbers) for numbers in zip(*counts, strict=True)] or [0] * (2 + len(_COUNTS))
    blanks = [""] * (len(groups) - 1)
    return _csv([(*groups, *_SUMS), *rows, ("total", *blanks, *sums, dollars(invoice.cost))])


async def rows_as(pages: AsyncIterator[SpendPage], form: Format) -> AsyncIterator[bytes]:
    """The rows of all pages in pieces, one for each page; CSV with its head."""
    if form == "csv":
        yield _csv([_ROW]).encode()
    async for page in pages:
        if form == "csv":
            yield _csv([list(row_of(row).values()) for row in page.rows]).encode()
        else:
            yield b"".join(msgspec.json.encode(row_of(row)) + b"\n" for row in page.rows)


def row_of(row: Spend) -> dict[str, Any]:
    """A row of the ledger by the names of its columns, flat."""
    used = row.usage
    found = {
        "id": row.id,
        "request_id": row.request_id,
        "attempt": row.attempt,
        "at": row.at.isoformat(),
        "team": row.team,
        "key": row.key,
        "route": row.route,
        "provider": row.provider,
        "model": row.model,
        "price": row.price,
        "priced": row.priced,
        **dict(zip(_COUNTS, _counts(used), strict=True)),
        "estimated": used.estimated,
        "cost_usd": dollars(row.cost),
        "outcome": row.outcome,
        "tags": dict(row.tags),
    }
    return {name: found[name] for name in _ROW}


def _counts(used: Any) -> tuple[int, ...]:
    return tuple(getattr(used, name) for name in _COUNTS)


def _csv(rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, dict):
        value = msgspec.json.encode(value).decode()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
