"""Signatures and the files that hold their keys."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from stanchion.core.errors import Misconfigured, NotTrustworthy
from stanchion.core.security.keyfile import create_private, load_or_create, read_private
from stanchion.core.security.signing import Signer, TrustedKeys, is_signed, key_id_of


def test_a_signature_holds_for_its_message_only() -> None:
    signer = Signer.generate()
    signature = signer.sign(b"payload")
    assert len(signature) == 64
    assert is_signed(signer.public, b"payload", signature)
    assert not is_signed(signer.public, b"payloae", signature)
    assert not is_signed(Signer.generate().public, b"payload", signature)
    assert not is_signed(signer.public, b"payload", b"short")
    assert not is_signed(b"no key", b"payload", signature)


def test_a_signature_for_one_purpose_is_worthless_for_another() -> None:
    signer = Signer.generate()
    keys = TrustedKeys([signer.public])
    signature = signer.sign(b"x", purpose="checkpoint")
    keys.verify(signer.key_id, b"x", signature, purpose="checkpoint")
    for other in ("package", ""):
        with pytest.raises(NotTrustworthy):
            keys.verify(signer.key_id, b"x", signature, purpose=other)


def test_a_signature_by_an_unknown_key_is_not_trusted() -> None:
    signer = Signer.generate()
    with pytest.raises(NotTrustworthy, match="not a trusted key"):
        TrustedKeys([Signer.generate().public]).verify(signer.key_id, b"x", signer.sign(b"x"))


def test_the_key_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.pem"
    first = Signer.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Signer.load_or_create(path).key_id == first.key_id == key_id_of(first.public)
    assert [p.name for p in path.parent.iterdir()] == ["signing.pem"]


def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    Signer.load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(Misconfigured, match="open to others"):
        Signer.load_or_create(path)


def test_a_file_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    create_private(path, b"not a key")
    with pytest.raises(Misconfigured, match="no private key"):
        Signer.load_or_create(path)


def test_of_many_makers_of_one_file_exactly_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "pepper"
    seen: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: seen.append(load_or_create(path, lambda: os.urandom(16)))) for _ in "12345"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 1
    assert read_private(path) == seen[0]
    assert create_private(path, b"later") is False
