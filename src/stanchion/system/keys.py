"""The keys a process needs before it can do anything: pepper, master key, signing key.

In development they are made once and kept in private files under the data folder; otherwise they come by the
references in the settings, and a missing one stops the start.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import Misconfigured
from ..core.security.keyfile import load_or_create, read_private
from ..core.security.signing import Signer
from ..core.settings import SecretsSettings

_SIZE = 32


@dataclass(frozen=True, slots=True)
class HouseKeys:
    """Key material, never shown: `pepper` for API keys, `master` for stored data, `signer` for evidence."""

    pepper: bytes = field(repr=False)
    master: bytes = field(repr=False)
    signer: Signer = field(repr=False)


def house_keys(folder: Path, settings: SecretsSettings, environment: Mapping[str, str]) -> HouseKeys:
    """The process's keys. Raises Misconfigured for a reference that gives nothing usable, never naming its value."""
    return HouseKeys(
        pepper=_bytes("pepper", settings.pepper, folder / "pepper.key", environment),
        master=_bytes("master_key", settings.master_key, folder / "master.key", environment),
        signer=_signer(settings.signing_key, folder / "signing.pem", environment),
    )


def _bytes(name: str, reference: str | None, file: Path, environment: Mapping[str, str]) -> bytes:
    if reference is None:
        return _decoded(name, load_or_create(file, lambda: base64.b64encode(secrets.token_bytes(_SIZE))))
    return _decoded(name, _resolved(name, reference, environment))


def _signer(reference: str | None, file: Path, environment: Mapping[str, str]) -> Signer:
    if reference is None:
        return Signer.load_or_create(file)
    if reference.startswith("file:"):
        path = Path(reference.removeprefix("file:"))
        if read_private(path) is None:
            raise Misconfigured("secrets.signing_key names a file that does not exist")
        return Signer.load_or_create(path)
    return Signer.from_pem(_resolved("signing_key", reference, environment))


def _resolved(name: str, reference: str, environment: Mapping[str, str]) -> bytes:
    kind, _, place = reference.partition(":")
    content: bytes | None = None
    if kind == "env":
        content = environment[place].encode() if environment.get(place) else None
    elif kind == "file":
        content = read_private(Path(place))
    else:
        raise Misconfigured(f"secrets.{name} must be a reference: env:NAME or file:/path")
    if content is None:
        raise Misconfigured(f"secrets.{name} refers to {kind}:{place}, which gives nothing")
    return content


def _decoded(name: str, text: bytes) -> bytes:
    try:
        content = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as error:
        raise Misconfigured(f"secrets.{name} is not base64") from error
    if len(content) < _SIZE:
        raise Misconfigured(
            f"secrets.{name} holds {len(content)} bytes; {_SIZE} are needed",
            next_step="Make one with `openssl rand -base64 32`.",
        )
    return content
