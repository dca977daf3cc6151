"""Requests to AWS with a signature: Signature Version 4, with the key in the hands of the caller.

Source: "Create a signed AWS API request", AWS Identity and Access Management, user guide.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from ...core.errors import Misconfigured

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"
_REGION = re.compile(r"\.([a-z]{2}(?:-[a-z]+)+-\d+)\.")


class AwsKey:
    """A key of AWS. No text shows it."""

    __slots__ = ("id", "secret", "token")

    def __init__(self, key_id: str, secret: str, token: str = "") -> None:
        self.id = key_id
        self.secret = secret
        self.token = token

    def __repr__(self) -> str:
        return "AwsKey(***)"

    @classmethod
    def parse(cls, text: str) -> AwsKey | None:
        """The key in a secret: `ID:SECRET`, `ID:SECRET:TOKEN`, or the JSON object that AWS's tools print.

        None for a text of another form, which is then a Bedrock API key. Raises Misconfigured for half a key.
        """
        text = text.strip()
        if text.startswith("{"):
            try:
                held: Any = msgspec.json.decode(text, type=dict[str, Any])
            except msgspec.MsgspecError as error:
                raise Misconfigured("the secret of an AWS key begins like JSON and is none") from error
            held = held.get("Credentials", held)
            parts = [str(held.get(name) or "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        elif ":" in text:
            parts = [*text.split(":", 2), ""][:3]
        else:
            return None
        if not parts[0] or not parts[1]:
            raise Misconfigured(
                "the secret of an AWS key lacks a part",
                next_step="Store ID:SECRET or ID:SECRET:TOKEN, or a Bedrock API key.",
            )
        return cls(*parts)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests to one service in one region."""

    region: str
    service: str = "bedrock"

    def sign(
        self, key: AwsKey, *, method: str, url: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> dict[str, str]:
        """The headers to send besides `headers`, which are all signed. `url` goes over the wire to the byte."""
        moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        parts = urlsplit(url)
        added = {"x-amz-date": moment} | ({"x-amz-security-token": key.token} if key.token else {})
        signed = {name.lower(): " ".join(value.split()) for name, value in {**headers, **added}.items()}
        signed["host"] = parts.netloc
        names = ";".join(sorted(signed))
        request = "\n".join(
            (
                method,
                # The path is encoded once more than it goes over the wire, for every service but S3.
                quote(parts.path or "/", safe="/" + _UNRESERVED),
                _query(parts.query),
                *(f"{name}:{signed[name]}" for name in sorted(signed)),
                "",
                names,
                hashlib.sha256(body).hexdigest(),
            )
        )
        day = moment[:8]
        scope = f"{day}/{self.region}/{self.service}/aws4_request"
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = _mac(self._key(key, day), text).hex()
        shown = f"{_ALGORITHM} Credential={key.id}/{scope}, SignedHeaders={names}, Signature={signature}"
        return {**added, "authorization": shown}

    def _key(self, key: AwsKey, day: str) -> bytes:
        made = f"AWS4{key.secret}".encode()
        for step in (day, self.region, self.service, "aws4_request"):
            made = _mac(made, step)
        return made


def authorised(
    secret: str, *, url: str, headers: Mapping[str, str], body: bytes, now: datetime, region: str = ""
) -> dict[str, str]:
    """The headers that let a POST to Bedrock in: a signature by an AWS key, or a Bedrock API key as it is.

    The host of the URL tells the AWS region; `region` is for a host that does not. Raises Misconfigured without one.
    """
    key = AwsKey.parse(secret)
    if key is None:
        return {"authorization": f"Bearer {secret.strip()}"}
    signer = Signer(region_of(url, region))
    return signer.sign(key, method="POST", url=url, headers=headers, body=body, now=now)


def region_of(url: str, otherwise: str = "") -> str:
    """The region in a host such as `bedrock-runtime.eu-west-1.amazonaws.com`. Raises Misconfigured without one."""
    found = _REGION.search(urlsplit(url).hostname or "")
    if found is None and not otherwise:
        raise Misconfigured(
            "the upstream's host does not tell its AWS region", next_step="Declare the upstream's `region`."
        )
    return otherwise if found is None else found[1]


def _query(query: str) -> str:
    pairs = sorted(
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
