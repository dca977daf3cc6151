"""The event that ends a broken stream, in the client's form: nobody may take what came before for a whole answer."""

from __future__ import annotations

import msgspec

from ...core.context import Context
from ...core.errors import StanchionError
from ...core.redaction import redact
from ..contract.calls import Shape
from ..wire.faults import error_document
from ..wire.sse import event

_encode = msgspec.json.Encoder().encode


def failing(ctx: Context, shape: Shape, error: StanchionError) -> bytes:
    """The event for the error, without the secrets and personal data that its words may repeat."""
    problem = error.problem(trace_id=ctx.trace.trace_id)
    problem["detail"] = redact(error.detail)
    document = error_document(shape, problem)
    if shape == "messages":
        return event(_encode(document), "error")
    if shape == "responses":
        told = document["error"]
        return event(_encode({"type": "error", **document, "message": told["message"], "code": told["code"]}), "error")
    return event(_encode(document))
