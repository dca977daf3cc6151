"""Proof that one event is in the log, for somebody who has neither the log nor this program.

To check a proof by hand, with any SHA-256 and any Ed25519 (RFC 6962, 2.1.1; C2SP signed-note):

1. `leaf_hash` is SHA256(0x00 | event), where `event` is the event's JSON text in UTF-8. It names `seq`.
2. Let value = leaf_hash, n = seq, last = tree_size - 1. For each hash p of `path`: if n is odd or n = last, then
   value = SHA256(0x01 | p | value), and while n is even and not 0, halve n and last (rounding down); otherwise
   value = SHA256(0x01 | value | p). Then halve n and last (rounding down). At the end last is 0 and value is `root`.
3. `checkpoint` is lines of text. Line 2 is tree_size, line 3 is root in base64; after an empty line comes
   `— NAME SIGNATURE`. The base64 of SIGNATURE holds 4 bytes that name the key and 64 bytes of Ed25519
   signature over the first three lines, each with its newline.
"""

from __future__ import annotations

import msgspec

from ...errors import NotTrustworthy
from ..contract import InclusionProof
from .body import decode
from .checkpoint import Checkpoint, Note, Verifier, parsed
from .merkle import Subtree, includes, inclusion_path, leaf_hash


def made(seq: int, body: bytes, *, note: Note, subtree: Subtree) -> InclusionProof:
    """The proof of an event against a checkpoint that covers it.

    Raises NotTrustworthy if the stored log does not lead to the signed root.
    """
    checkpoint, leaf = note.checkpoint, leaf_hash(body)
    path = inclusion_path(seq, checkpoint.size, subtree)
    if not includes(leaf, seq, checkpoint.size, path, checkpoint.root):
        raise NotTrustworthy(f"event {seq} does not lead to the root that was signed for {checkpoint.size} events")
    return InclusionProof(
        seq=seq,
        leaf_hash=leaf.hex(),
        tree_size=checkpoint.size,
        path=tuple(value.hex() for value in path),
        root=checkpoint.root.hex(),
        checkpoint=note.text,
        event=body.decode(),
    )


def verify_proof(proof: InclusionProof, public_key: bytes) -> Checkpoint:
    """The signed checkpoint whose tree holds the event. `public_key` is the log's, 32 bytes, from a trusted place.

    Compare its `origin` with the log you mean. Raises NotTrustworthy, saying which step fails.
    """
    checkpoint = Verifier(parsed(proof.checkpoint).origin, [public_key]).opened(proof.checkpoint)
    if (checkpoint.size, checkpoint.root.hex()) != (proof.tree_size, proof.root):
        raise NotTrustworthy("the proof's size and root are not those of its checkpoint")
    try:
        seq, path = decode(proof.event).seq, [bytes.fromhex(value) for value in proof.path]
    except (msgspec.MsgspecError, ValueError) as error:
        raise NotTrustworthy("the proof cannot be read") from error
    leaf = leaf_hash(proof.event.encode())
    if seq != proof.seq or leaf.hex() != proof.leaf_hash:
        raise NotTrustworthy("the event is not the one the proof is about")
    if not includes(leaf, seq, checkpoint.size, path, checkpoint.root):
        raise NotTrustworthy("the path does not lead from the event to the signed root")
    return checkpoint
