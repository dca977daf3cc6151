"""The templates, compiled once a process: what they know of a page comes with each rendering, nothing is kept."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import figures
from .assets import BASE

_FOLDER = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """Every value is escaped, and a name that was not given is an error instead of a blank."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        count=figures.count,
        rate=figures.rate,
        duration=figures.duration,
        percent=figures.percent,
        money=figures.money,
        pico=figures.pico,
        size=figures.size,
        metric=figures.metric,
        moment=figures.moment,
        stamp=figures.stamp,
        span=lambda seconds: figures.span_of(timedelta(seconds=seconds)),
        clock=figures.clock,
        day=figures.day,
        iso=figures.iso,
        facts=figures.facts,
        sentence=figures.sentence,
        json=lambda value: json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True),
        segment=lambda value: quote(str(value), safe=""),
    )
    made.globals.update(BASE=BASE, query=query)
    return made


def query(**values: str | int | None) -> str:
    """`?a=1&b=2` of the values that are set; empty without any."""
    kept = {name: str(value) for name, value in values.items() if value not in (None, "")}
    return f"?{urlencode(kept)}" if kept else ""
