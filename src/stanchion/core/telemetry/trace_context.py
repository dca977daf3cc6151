"""The `traceparent` header, read strictly: W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header"""

from __future__ import annotations

import re

from ..context import Trace

_SHAPE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = 1


def parse_traceparent(header: str) -> Trace | None:
    """The trace and the caller's span in it, or None: a header with any fault counts as absent.

    `sampled` is what the caller says of its own spans. A version after 00 is read by its first four fields.
    """
    match = _SHAPE.fullmatch(header)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return Trace(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def format_traceparent(trace: Trace) -> str:
    """The header that tells the next process of this trace and of the present span."""
    return f"00-{trace.trace_id}-{trace.span_id}-{_SAMPLED if trace.sampled else 0:02x}"
