"""Signed checkpoints: a size and a root that whoever changes the log afterwards cannot make again.

The text is that of C2SP tlog-checkpoint, signed as C2SP signed-note says (c2sp.org), with Ed25519:

    origin                                 the log's name
    12                                     how many events the tree holds
    base64(32-byte root)
    (empty line)
    — origin base64(key hash | signature)  signature over the first three lines, each with its newline

where the key hash is the first four bytes of SHA256(origin | 0x0A | 0x01 | public key).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import Misconfigured, NotTrustworthy
from ..signing import is_signed
from .ports import NoteSigner

_ORIGIN = re.compile(r"[^\s+]{1,200}")
_NOTE = re.compile(r"([^\n]+\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/=]{44})\n)\n((?:— [^\s+]+ [A-Za-z0-9+/=]+\n)+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log called `origin` held `size` events with this tree root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The part of a note that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint and the signed text it came from."""

    checkpoint: Checkpoint
    text: str


def checked_origin(origin: str) -> str:
    """The origin. Raises Misconfigured if it cannot stand in a note: white space, plus, or too long."""
    if not _ORIGIN.fullmatch(origin):
        raise Misconfigured(f"the audit log's name {origin!r} must be 1 to 200 characters without space or plus")
    return origin


def sign(checkpoint: Checkpoint, signer: NoteSigner) -> Note:
    """The checkpoint, signed."""
    text = checkpoint.text()
    mark = key_hash(checkpoint.origin, signer.public) + signer.sign(text.encode())
    return Note(checkpoint, f"{text}\n— {checkpoint.origin} {base64.b64encode(mark).decode()}\n")


def key_hash(name: str, public: bytes) -> bytes:
    """The four bytes by which a signature line names its Ed25519 key (C2SP signed-note)."""
    return hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]


def parsed(note: str) -> Checkpoint:
    """What the note claims, unverified. Raises NotTrustworthy if it is no note of this form."""
    match = _NOTE.fullmatch(note)
    if match is None:
        raise NotTrustworthy("is not a readable checkpoint")
    try:
        root = base64.b64decode(match[3], validate=True)
    except binascii.Error as error:
        raise NotTrustworthy("is not a readable checkpoint") from error
    if len(root) != 32:
        raise NotTrustworthy("is not a readable checkpoint")
    return Checkpoint(note.partition("\n")[0], int(match[2]), root)


class Verifier:
    """Opens the notes of one log: its origin, and every public key that ever signed for it."""

    def __init__(self, origin: str, publics: Iterable[bytes]) -> None:
        self.origin = origin
        self._publics = {key_hash(origin, public): public for public in publics}

    def opened(self, note: str) -> Checkpoint:
        """The checkpoint, if a trusted key signed it. Raises NotTrustworthy, saying what is wrong."""
        checkpoint = parsed(note)
        if checkpoint.origin != self.origin:
            raise NotTrustworthy(f"(size {checkpoint.size}) is of another log, {checkpoint.origin[:80]!r}")
        text, _, lines = note.partition("\n\n")
        if not any(self._signed(text + "\n", line) for line in lines.splitlines()):
            raise NotTrustworthy(f"(size {checkpoint.size}) is not signed by a trusted key")
        return checkpoint

    def _signed(self, text: str, line: str) -> bool:
        _, name, encoded = line.split(" ")
        try:
            mark = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return False
        public = self._publics.get(mark[:4])
        return name == self.origin and public is not None and is_signed(public, text.encode(), mark[4:])
