"""Opens the bus on a broker by its URL; the broker's library is loaded here and nowhere sooner."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

from ...core.errors import Misconfigured
from ..ports import Bus

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def open_broker(kind: str, url: str) -> Bus:
    """The bus at `nats://user:password@host:4222`, `redis://host:6379/0` or `kafka://host:9092,host:9092`.

    `?name=` names the log on the broker (`stanchion`), `?replicas=` how many servers of a cluster hold it (1; NATS and
    Kafka), `?durable=no` accepts a Redis or a topic of Kafka that may lose acknowledged events.
    Raises Misconfigured for another URL or a missing extra.
    """
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    schemes = {"nats": ("nats", "tls"), "redis": ("redis", "rediss", "unix"), "kafka": ("kafka",)}.get(kind, ())
    if parts.scheme not in schemes:
        # The URL itself may hold a password, so only its scheme is told.
        raise Misconfigured(
            f"events.url has the scheme {parts.scheme!r}, which is none of {kind}",
            next_step=f"Write it as {schemes[0]}://host:port." if schemes else "Use nats, redis or kafka.",
        )
    name = options.pop("name", "stanchion")
    if _NAME.fullmatch(name) is None:
        raise Misconfigured("the name of the log has at most 64 letters, digits, dashes and underscores")
    durable = kind == "nats" or options.pop("durable", "yes") != "no"
    match kind:
        case "nats":
            with _extra("nats"):
                from .nats.bus import NatsBus
            replicas = _replicas(options)
            _none(options)
            server = f"{parts.scheme}://{parts.hostname}:{parts.port or 4222}"
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
            return NatsBus([server], stream=name, replicas=replicas, user=user, password=password)
        case "redis":
            with _extra("redis"):
                from .redis.bus import RedisBus
            _none(options)
            return RedisBus(parts._replace(query="").geturl(), name=name, durable=durable)
        case _:
            with _extra("kafka"):
                from .kafka.bus import KafkaBus
            replicas = _replicas(options)
            _none(options)
            return KafkaBus(parts.netloc, topic=name, replicas=replicas, durable=durable)


def _replicas(options: dict[str, str]) -> int:
    given = options.pop("replicas", "1")
    if not given.isdecimal() or not 1 <= int(given) <= 7:
        raise Misconfigured("`replicas` in events.url is a number from 1 to 7")
    return int(given)


def _none(options: dict[str, str]) -> None:
    if options:
        raise Misconfigured(f"events.url has unknown options: {', '.join(sorted(options))}")


@contextmanager
def _extra(name: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"the package {error.name} for this broker is not installed",
            next_step=f"Run `pip install 'stanchion[{name}]'`.",
        ) from error
