from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanchion.core.errors import Misconfigured, NotTrustworthy
from stanchion.core.security.audit.checkpoint import Checkpoint, Verifier, checked_origin, key_hash, parsed, sign
from stanchion.core.security.signing import Signer, is_signed

SIGNER = Signer.generate()
CHECKPOINT = Checkpoint("stanchion/test", 12, bytes(range(32)))
NOTE = sign(CHECKPOINT, SIGNER).text


def test_signatures_are_those_of_the_signed_note_reference() -> None:
    # The example of golang.org/x/mod/sumdb/note.
    public = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    mark = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert mark[:4] == key_hash("PeterNeumann", public)
    assert is_signed(public, text.encode(), mark[4:])


def test_a_note_has_the_lines_of_the_standard() -> None:
    origin, size, root, empty, signature, end = NOTE.split("\n")
    assert (origin, size, base64.b64decode(root), empty, end) == ("stanchion/test", "12", CHECKPOINT.root, "", "")
    assert signature.startswith("— stanchion/test ")


def test_a_signed_checkpoint_opens_with_any_of_the_trusted_keys() -> None:
    verifier = Verifier("stanchion/test", [Signer.generate().public, SIGNER.public])
    assert verifier.opened(NOTE) == parsed(NOTE) == CHECKPOINT


def test_a_note_with_a_second_signature_by_a_witness_opens() -> None:
    witness = sign(CHECKPOINT, Signer.generate()).text.splitlines()[-1]
    assert Verifier("stanchion/test", [SIGNER.public]).opened(NOTE + witness + "\n") == CHECKPOINT


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(NotTrustworthy, match="not signed by a trusted key"):
        Verifier("stanchion/test", [Signer.generate().public]).opened(NOTE)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    with pytest.raises(NotTrustworthy, match="another log"):
        Verifier("stanchion/other", [SIGNER.public]).opened(NOTE)


@given(st.integers(0, len(NOTE) - 1), st.characters())
def test_no_character_can_be_changed(place: int, character: str) -> None:
    changed = NOTE[:place] + character + NOTE[place + 1 :]
    try:
        assert Verifier("stanchion/test", [SIGNER.public]).opened(changed) == CHECKPOINT
    except NotTrustworthy:
        return
    # What opens says the same: only an encoding of the same signature may differ.
    assert changed.partition("\n\n")[0] == NOTE.partition("\n\n")[0]


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "line\n", "x" * 201])
def test_an_origin_that_cannot_stand_in_a_note_is_refused(origin: str) -> None:
    with pytest.raises(Misconfigured):
        checked_origin(origin)
