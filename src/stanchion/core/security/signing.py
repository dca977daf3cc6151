"""Ed25519 signatures over bytes (RFC 8032), so that what is stored can be told from what was put there.

`cryptography` is imported where it is used: a process that neither signs nor verifies never loads it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Misconfigured, NotTrustworthy
from .keyfile import load_or_create

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def key_id_of(public: bytes) -> str:
    """The name of a 32-byte public key: `ed25519:` and 16 characters of the SHA-256 of its bytes."""
    return "ed25519:" + base64.urlsafe_b64encode(hashlib.sha256(public).digest())[:16].decode()


class Signer:
    """Signs with one Ed25519 key, about 10,000 signatures a second. Safe for use from any thread."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()
        self.key_id: str = key_id_of(self.public)

    @classmethod
    def generate(cls) -> Signer:
        """A signer with a new key that is kept nowhere."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load_or_create(cls, path: Path) -> Signer:
        """The signer whose key is in the PKCS #8 PEM file `path`; the file is made, mode 0600, if there is none.

        Raises Misconfigured if the file is open to others or holds no Ed25519 key.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls.from_pem(load_or_create(path, lambda: _pem(Ed25519PrivateKey.generate())), name=path.name)

    @classmethod
    def from_pem(cls, content: bytes, *, name: str = "the signing key") -> Signer:
        """The signer of a PKCS #8 PEM. Raises Misconfigured, naming `name`, if it holds no Ed25519 key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(content, password=None)
        except ValueError as error:
            raise Misconfigured(f"{name} holds no private key in PEM") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise Misconfigured(f"{name} holds a key of another kind than Ed25519")
        return cls(key)

    def sign(self, message: bytes, *, purpose: str = "") -> bytes:
        """A 64-byte signature. With a `purpose` it is worthless for every other purpose of the same key."""
        return self._key.sign(_framed(message, purpose))


class TrustedKeys:
    """The public keys whose signatures count, by key id."""

    def __init__(self, publics: Iterable[bytes]) -> None:
        self._keys = {key_id_of(public): public for public in publics}

    def verify(self, key_id: str, message: bytes, signature: bytes, *, purpose: str = "") -> None:
        """Return if the key signed this message for this purpose.

        Raises NotTrustworthy if the key is not among these or the signature is not its own.
        """
        public = self._keys.get(key_id)
        if public is None:
            raise NotTrustworthy(f"the signature is by {key_id}, which is not a trusted key")
        if not is_signed(public, message, signature, purpose=purpose):
            raise NotTrustworthy(f"the signature by {key_id} does not match the content")


def is_signed(public: bytes, message: bytes, signature: bytes, *, purpose: str = "") -> bool:
    """Whether the holder of the 32-byte public key signed this message for this purpose."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _framed(message, purpose))
    except (InvalidSignature, ValueError):
        return False
    return True


def _framed(message: bytes, purpose: str) -> bytes:
    # A NUL cannot occur in a purpose, so no two pairs of purpose and message share a frame.
    if "\0" in purpose:
        raise ValueError("a purpose has no NUL")
    return f"stanchion\0{purpose}\0".encode() + message if purpose else message


def _pem(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
