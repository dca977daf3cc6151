"""A handling as a span in the trace of its cause: what its handler calls, and publishes, hangs below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace

from ...core.context import Context, Trace
from ...core.telemetry.semconv import Key
from ...core.telemetry.spans import SpanRecorder
from .buffer import Item

MOST_TRACES = 16
"""Of a batch's events so many have their traces told of its handling."""


def handling(
    spans: SpanRecorder | None, ctx: Context, consumer: str, items: Sequence[Item]
) -> AbstractContextManager[Context]:
    """Run the block as a child of what published the events; gives the Context that belongs inside.

    A batch has a span in the trace of each of its events that is sampled. Its handler runs in that of the first one,
    and the spans in the others hold a link to it: `TRACE-SPAN`.
    """
    if spans is None or not any(item.packet.sampled for item in items):
        return nullcontext(ctx)
    return _traced(spans, ctx, consumer, items)


@contextmanager
def _traced(spans: SpanRecorder, ctx: Context, consumer: str, items: Sequence[Item]) -> Iterator[Context]:
    causes = {item.packet.trace_id: item.packet for item in items if item.packet.sampled}
    # The one that the handler runs in comes first: the others name its span.
    traces = sorted(causes, key=lambda trace_id: trace_id != ctx.trace.trace_id)[:MOST_TRACES]
    with ExitStack() as stack:
        inner, link = ctx, ""
        for trace_id in traces:
            packet = causes[trace_id]
            cause = replace(ctx, trace=Trace(trace_id, packet.span_id, True))
            about: dict[str, str | int] = {Key.RESOURCE: packet.type, Key.REQUEST_ID: packet.id, Key.ITEMS: len(items)}
            if link:
                about[Key.LINK] = link
            here = stack.enter_context(spans.span(cause, f"handler {consumer}", about))
            if trace_id == ctx.trace.trace_id:
                inner, link = here, f"{trace_id}-{here.trace.span_id}"
        yield inner
