"""Webhooks: who sends signed messages in, and where events are sent out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context, Rights
from ...core.contract import action
from ...core.errors import FieldProblem, InvalidInput
from .event import Event
from .rules import check_patterns

Direction = Literal["in", "out"]
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SCOPE = re.compile(r"\*|[a-z_]+:(\*|[a-z_]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSpec:
    """A webhook. One that goes out sends events whose type a pattern of `types` names to `url`.

    One that comes in makes an event of each message: the message itself where it is a CloudEvent whose type fits
    `type`, which may be a pattern; else one of that type with the message as its data. `roles` and `scopes` are the
    rights with which those events are handled.
    """

    name: str
    direction: Direction
    url: str = ""
    types: tuple[str, ...] = ()
    type: str = ""
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    description: str = ""

    @property
    def source(self) -> str:
        """The source of the events that an incoming hook makes."""
        return f"/webhooks/{self.name}"


def check_hook(spec: HookSpec) -> None:
    """Return if the hook can be. Raises InvalidInput with every fault's path."""
    faults = []
    if _NAME.fullmatch(spec.name) is None:
        faults.append(FieldProblem("$.name", "is no name of up to 63 lower-case letters, digits, dots and dashes"))
    if spec.direction == "out":
        faults += [FieldProblem("$.types", "is empty")] if not spec.types else []
        faults += [FieldProblem("$.url", "is no http or https address")] if not _is_url(spec.url) else []
        inner = [name for name in ("type", "roles", "scopes") if getattr(spec, name)]
    else:
        inner = [name for name in ("url", "types") if getattr(spec, name)]
        faults += [FieldProblem("$.type", "is empty")] if not spec.type else []
        faults += [
            FieldProblem(f"$.scopes[{i}]", "is no scope") for i, s in enumerate(spec.scopes) if not _SCOPE.fullmatch(s)
        ]
    faults += [FieldProblem(f"$.{name}", f"is not for a hook that goes {spec.direction}") for name in inner]
    if faults:
        raise InvalidInput(f"the webhook cannot be: {faults[0].path} {faults[0].message}", fields=faults)
    if spec.direction == "out":
        check_patterns(spec.types)


def _is_url(url: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = parts.username is None and parts.password is None and not parts.fragment
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain and port != 0 and len(url) <= 2_000


@dataclass(frozen=True, slots=True)
class HookView:
    """A webhook as it does now. `failures` are those since it last worked; a disabled one sends nothing.

    `consumer` is the name under which an outgoing one takes events: a new one whenever its types change.
    """

    spec: HookSpec
    consumer: str
    state: Literal["active", "disabled"]
    failures: int
    last_error: str
    last_done: datetime | None
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True, slots=True)
class HookMade:
    """A webhook with its secret, which is shown this once: `whsec_` and base64, as Standard Webhooks has it."""

    view: HookView
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A message whose signature held: its event, and whom it acts for."""

    principal: str
    rights: Rights
    event: Event


class Hooks(Protocol):
    """The webhooks of the caller's tenant."""

    @action("events:read_hook", effect="read", resource="Webhook")
    async def hooks(self, ctx: Context) -> Sequence[HookView]:
        """Every webhook, by name, without its secret."""
        ...

    @action("events:write_hook", effect="write", resource="Webhook")
    async def put_hook(self, ctx: Context, spec: HookSpec, *, secret: str | None = None) -> HookMade:
        """Make or replace a webhook; a disabled one works again. It keeps its secret unless one is given.

        `secret` is the other side's own, of 24 to 64 bytes. An outgoing one that is new, or has new types, sends what
        is published from now on; a disabled one goes on where it stopped.
        Raises InvalidInput; NotAllowed for an address outside the permitted networks, and for rights that the caller
        does not hold.
        """
        ...

    @action("events:write_hook", effect="write", resource="Webhook", by="name")
    async def rotate_hook(self, ctx: Context, name: str, *, overlap: float = 86_400) -> HookMade:
        """Make a new secret; the old one holds for `overlap` seconds more. Raises NotFound."""
        ...

    @action("events:write_hook", effect="write", resource="Webhook", by="name")
    async def drop_hook(self, ctx: Context, name: str) -> None:
        """Remove a webhook. Raises NotFound."""
        ...

    # Anybody may try to deliver: the signature is the credential. What comes of it is published, and audited there.
    @action("events:admit", effect="read", resource="Webhook", by="name", seconds=10)
    async def admit(self, ctx: Context, name: str, headers: Mapping[str, str], body: bytes) -> Admitted:
        """The event of a signed message. Raises NotAuthenticated where the hook, the signature or the time does not
        fit, InvalidInput where the message is no event.

        `headers` are those of the message, in lower case. A message older or newer than five minutes is refused; the
        same message again makes the same event, which is handled once.
        """
        ...
