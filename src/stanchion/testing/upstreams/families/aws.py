"""What every service of AWS has: event streams in binary frames, and signed requests (Signature Version 4)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ..script import Call
from .family import SigningKey

HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$"
)
TEXT = 7
SIGNED_AT_LEAST = {"host", "x-amz-date"}


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message: lengths and their checksum, headers, payload, checksum of all.

    Source: the Smithy specification of `application/vnd.amazon.eventstream`.
    """
    head = b""
    for name, value in headers.items():
        key, text = name.encode(), value.encode()
        head += struct.pack("!B", len(key)) + key + struct.pack("!BH", TEXT, len(text)) + text
    prelude = struct.pack("!II", len(head) + len(payload) + 16, len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack("!I", zlib.crc32(message))


def event(name: str, document: Mapping[str, Any]) -> bytes:
    """An event with a JSON document."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(document, ensure_ascii=False).encode())


def exception(name: str, words: str) -> bytes:
    """An error in the middle of a stream."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": words}).encode())


def signed(call: Call, key: SigningKey, service: str) -> bool:
    """Whether the request has the signature that the key gives it, over the body as it came."""
    found = HEADER.match(call.headers.get("authorization", ""))
    if found is None:
        return False
    name, day, region, named, listed, signature = found.groups()
    moment = call.headers.get("x-amz-date", "")
    names = listed.split(";")
    if (name, region, named, moment[:8]) != (key.id, key.region, service, day) or not set(names) >= SIGNED_AT_LEAST:
        return False
    if key.token and (call.headers.get("x-amz-security-token") != key.token or "x-amz-security-token" not in names):
        return False
    scope = f"{day}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(_canonical(call, names).encode()).hexdigest()
    wanted = _hmac(_key(key.secret, day, region, service), f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}").hex()
    return hmac.compare_digest(wanted, signature)


def _canonical(call: Call, names: list[str]) -> str:
    """The request in the one form in which it is signed. The path as it came is encoded once more."""
    query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(call.query.items()))
    headers = "".join(f"{name}:{' '.join(call.headers.get(name, '').split())}\n" for name in names)
    body = hashlib.sha256(call.raw).hexdigest()
    path = quote(call.path, safe="/-_.~")
    return "\n".join((call.method, path, query, headers, ";".join(names), body))


def _key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for step in (day, region, service, "aws4_request"):
        key = _hmac(key, step)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
