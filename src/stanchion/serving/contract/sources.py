"""Models that run on another server: one that speaks the Open Inference Protocol, or any HTTP endpoint."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from ...core.errors import Misconfigured
from ...core.values import Json
from .layouts import Layout


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret by reference (`env:NAME`, `file:/path`, `store:name`), read at each use and sent in `header` behind
    `prefix`."""

    reference: str
    header: str = "authorization"
    prefix: str = "Bearer "


@dataclass(frozen=True, slots=True)
class Remote:
    """A model on a server of the Open Inference Protocol over REST, such as MLServer, Triton, KServe or Stanchion.

    `url` is the part before `/v2`. Calls go to that origin alone, and no redirect is followed. Without a `layout` each
    field is one tensor of its name, `[rows, 1]`, as Stanchion and MLServer's data frames have it.
    A call takes at most `seconds`, and the caller's own deadline, whichever comes first. Plain HTTP beyond this
    machine must be allowed by `plain_http`.
    """

    url: str
    model: str
    version: str = ""
    layout: Layout | None = None
    seconds: float = 5.0
    connections: int = 64
    most_bytes: int = 64 << 20
    headers: Mapping[str, str] = field(default_factory=dict)
    credential: Credential | None = None
    plain_http: bool = False

    def __post_init__(self) -> None:
        check_origin(self.url, plain_http=self.plain_http)
        _check_limits(self.url, self.seconds, self.connections, self.most_bytes)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind any HTTP endpoint that takes and gives JSON.

    `body` is the request as a template: a text that is exactly `{field}` stands for that field's value, of its own
    type; all else is sent as it is. `answer` maps output fields to places in the response, such as `result.scores.0`
    (a number is a place in a list; `` is the whole response). One request for each instance, `at_once` of them at a
    time; or, where `instances` names the place of the list of answers, one for all: then the text `{instances}` in
    `body` stands for the list of `each`, rendered for every instance. The rest is as in `Remote`.
    """

    url: str
    body: Mapping[str, Json]
    answer: Mapping[str, str]
    instances: str | None = None
    each: Mapping[str, Json] | None = None
    method: Literal["POST", "PUT"] = "POST"
    at_once: int = 8
    seconds: float = 5.0
    connections: int = 64
    most_bytes: int = 16 << 20
    headers: Mapping[str, str] = field(default_factory=dict)
    credential: Credential | None = None
    plain_http: bool = False

    def __post_init__(self) -> None:
        check_origin(self.url, plain_http=self.plain_http)
        _check_limits(self.url, self.seconds, self.connections, self.most_bytes)
        if not self.answer:
            raise Misconfigured(f"the endpoint {self.url} fills no output field")
        if self.at_once < 1:
            raise Misconfigured(f"the endpoint {self.url} needs at_once >= 1")
        if (self.each is None) != (self.instances is None):
            raise Misconfigured(f"the endpoint {self.url} needs `each` and `instances`, or neither")


def check_origin(url: str, *, plain_http: bool) -> None:
    """Raise Misconfigured unless `url` is a plain address that may be called: https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise Misconfigured(f"{url!r} is no URL") from error
    if parts.scheme not in ("http", "https") or not host:
        raise Misconfigured(f"{url!r} is no http or https URL")
    if parts.username is not None or parts.password is not None or parts.fragment or parts.query:
        raise Misconfigured("a model's URL has no user, password, query or fragment: give a secret by reference")
    if parts.scheme == "http" and not plain_http and not _is_here(host):
        raise Misconfigured(
            f"{url} is plain http to another machine: what is sent could be read on the way",
            next_step="Use https, or declare plain_http=True where the network is trusted.",
        )


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_limits(url: str, seconds: float, connections: int, most_bytes: int) -> None:
    if seconds <= 0 or connections < 1 or most_bytes < 1:
        raise Misconfigured(f"{url} needs seconds > 0, connections >= 1 and most_bytes >= 1")
