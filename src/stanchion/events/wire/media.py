"""Media types: which are well-formed, which say that data is JSON, which that it is text."""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*"'
_FORM = re.compile(rf"({_WORD})/({_WORD})((?:[ \t]*;[ \t]*{_WORD}=(?:{_WORD}|{_QUOTED}))*)[ \t]*;?")
_CHARSET = re.compile(r';[ \t]*charset="?([^";\s]+)', re.IGNORECASE)
STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"


def is_media_type(text: str) -> bool:
    """Whether it is a media type with parameters as RFC 2045, section 5.1, writes it."""
    return _FORM.fullmatch(text) is not None


def bare(text: str) -> str:
    """The type alone, in lower case: `application/json` of `Application/JSON; charset=utf-8`."""
    return text.partition(";")[0].strip().lower()


@lru_cache(maxsize=512)
def is_json(text: str | None) -> bool:
    """Whether data of this type is JSON in UTF-8; data without a type is."""
    if text is None:
        return True
    subtype = bare(text).partition("/")[2]
    return (subtype == "json" or subtype.endswith("+json")) and _charset(text) in ("utf-8", "us-ascii")


@lru_cache(maxsize=512)
def is_text(text: str) -> bool:
    """Whether data of this type is text in UTF-8, and may stand in JSON as a string."""
    kind = bare(text)
    known = kind.startswith("text/") or kind.endswith(("+xml", "/xml", "/csv", "/yaml"))
    return known and _charset(text) in ("utf-8", "us-ascii")


def _charset(text: str) -> str:
    found = _CHARSET.search(text)
    return found[1].lower() if found else "utf-8"
