"""Signs manifests, and checks digest and signature of every one that is read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import NamedTuple

from ..core.errors import NotTrustworthy
from ..core.security.signing import Signer, TrustedKeys
from .contract import ModelVersion
from .manifest import digest, read_manifest
from .ports import VersionRow

PURPOSE = "registry:manifest"
_CHECKED = 10_000


class Signed(NamedTuple):
    """A manifest's SHA-256 in hex, the Ed25519 signature over its bytes in Base64, and who signed."""

    manifest_sha256: str
    signature: str
    key_id: str


class Seal:
    """One signing key, and every key whose signatures count: its own and the `trusted` ones (32 bytes each)."""

    def __init__(self, signer: Signer, *, trusted: Sequence[bytes] = ()) -> None:
        self._signer = signer
        self._keys = TrustedKeys([signer.public, *trusted])
        self._checked: set[Signed] = set()

    def sign(self, manifest: bytes) -> Signed:
        """The signature of a manifest."""
        signature = self._signer.sign(manifest, purpose=PURPOSE)
        return Signed(digest(manifest), base64.b64encode(signature).decode(), self._signer.key_id)

    def open(self, tenant: str, row: VersionRow) -> ModelVersion:
        """The version in a row. Raises NotTrustworthy if digest, signature or place do not match."""
        signed = Signed(row.manifest_sha256, row.signature, row.key_id)
        # SQLite admits a value of any type in any column; whoever edits a row by hand leaves text where bytes were.
        if not isinstance(row.manifest, bytes) or digest(row.manifest) != signed.manifest_sha256:
            raise NotTrustworthy(f"the record of {row.model} {row.version} does not match its digest")
        if signed not in self._checked:
            self._verify(row)
            # A verification costs some hundred microseconds. The digest is computed anew each time, so that
            # what was checked once is known to be what is read now.
            if len(self._checked) >= _CHECKED:
                self._checked.clear()
            self._checked.add(signed)
        return read_manifest(tenant, row)

    def _verify(self, row: VersionRow) -> None:
        try:
            signature = base64.b64decode(row.signature, validate=True)
            self._keys.verify(row.key_id, row.manifest, signature, purpose=PURPOSE)
        except (binascii.Error, ValueError, TypeError) as error:
            raise NotTrustworthy(f"the signature of {row.model} {row.version} is not readable") from error
        except NotTrustworthy as error:
            raise NotTrustworthy(f"{row.model} {row.version}: {error.detail}") from error
