"""URIs and URI-references by the grammar of RFC 3986: what may be a `source` or a `dataschema`."""

from __future__ import annotations

import re

_PCT = r"%[0-9A-Fa-f]{2}"
_P = rf"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|{_PCT})"
_SEGMENT_NC = rf"(?:[A-Za-z0-9._~!$&'()*+,;=@-]|{_PCT})+"
_HOST = (
    rf"(?:\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|{_PCT})*)"
)
_AUTHORITY = rf"(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|{_PCT})*@)?{_HOST}(?::[0-9]*)?"
_ABEMPTY = rf"(?:/{_P}*)*"
_HIER = rf"(?://{_AUTHORITY}{_ABEMPTY}|/(?:{_P}+{_ABEMPTY})?|{_P}+{_ABEMPTY}|)"
_RELATIVE = rf"(?://{_AUTHORITY}{_ABEMPTY}|/(?:{_P}+{_ABEMPTY})?|{_SEGMENT_NC}{_ABEMPTY}|)"
_QUERY = rf"(?:\?(?:{_P}|[/?])*)?"
_FRAGMENT = rf"(?:#(?:{_P}|[/?])*)?"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*:"
_ABSOLUTE = re.compile(_SCHEME + _HIER + _QUERY)
_REFERENCE = re.compile(rf"(?:{_SCHEME}{_HIER}|{_RELATIVE}){_QUERY}{_FRAGMENT}")


def is_absolute(text: str) -> bool:
    """Whether it is an absolute URI (RFC 3986, section 4.3): a scheme and no fragment."""
    return _ABSOLUTE.fullmatch(text) is not None


def is_reference(text: str) -> bool:
    """Whether it is a URI-reference (RFC 3986, section 4.1); the empty text is one."""
    return _REFERENCE.fullmatch(text) is not None
