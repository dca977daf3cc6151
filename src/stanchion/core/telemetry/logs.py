"""Logs of the whole process on one stream: JSON lines or readable text, and nothing secret in either."""

from __future__ import annotations

import json as _json
import logging
import re
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TextIO

from ..context import Context
from ..errors import StanchionError
from ..redaction import redact

_FIELDS = ("trace_id", "request_id", "tenant", "code")
_UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")
# A caller's text must not look like another line, nor steer the terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure_logging(*, json: bool, level: str, stream: TextIO) -> None:
    """Send every logger of the process to `stream`, redacted. Call it once, at start; a later call replaces it.

    uvicorn's loggers go the same way; start it with `log_config=None`, or it sets up its own.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _UVICORN:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def about(ctx: Context, code: str = "") -> dict[str, str]:
    """The `extra` of a log call: whose call it was, and the error's code."""
    return {"trace_id": ctx.trace.trace_id, "request_id": ctx.request_id, "tenant": ctx.tenant, "code": code}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and trace_id, request_id, tenant, code, error if known."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(_message(record)),
            **_known(record),
        }
        if fault := _fault(record):
            line["error"] = fault
        return _json.dumps(line)


class TextFormatter(logging.Formatter):
    """One line to read, then the traceback if there is one, indented."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        known = "".join(f" {name}={_one_line(value)}" for name, value in _known(record).items())
        line = f"{time} {record.levelname:<7} {record.name}: {_one_line(redact(_message(record)))}{known}"
        fault = "".join(f"\n  {_one_line(part)}" for part in _fault(record).splitlines())
        return line + fault


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a wrong format string must not lose the line, nor print its arguments to stderr
        return f"{record.msg} (its arguments do not fit)"


def _known(record: logging.LogRecord) -> dict[str, str]:
    given = {name: getattr(record, name, None) for name in _FIELDS}
    return {name: redact(str(value)) for name, value in given.items() if value}


def _fault(record: logging.LogRecord) -> str:
    """Traceback and stack, redacted. Made anew: `exc_text` may have been cached by a handler that does not redact."""
    error = record.exc_info[1] if record.exc_info else None
    parts = [] if error is None else list(_trail(error))
    if record.stack_info:
        parts.append(record.stack_info)
    return redact("\n".join(parts))


def _trail(error: BaseException) -> Iterator[str]:
    """The error and what led to it, the first cause first: where each arose, and its text if the text is ours.

    The text of a foreign exception may repeat what a caller sent, in a form that no pattern knows.
    """
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _trail(cause)
    yield "Traceback (most recent call last):"
    yield from (line.rstrip() for line in traceback.format_tb(error.__traceback__))
    said = str(error) if isinstance(error, StanchionError) else error.strerror if isinstance(error, OSError) else None
    yield type(error).__qualname__ + (f": {said}" if said else "")
    for each in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _trail(each)


def _one_line(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
