"""Proofs that a log only grew (RFC 6962): what a witness of checkpoints computes, and tests hold the log to."""

from __future__ import annotations

from collections.abc import Sequence

from stanchion.core.security.audit.merkle import Subtree, node_hash, range_root, split


def consistency_path(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """RFC 6962, 2.1.2: proof that the tree of `old` leaves is the beginning of the tree of `new` leaves."""
    if not 0 < old <= new:
        raise ValueError("the old tree has at least one leaf and is no larger than the new one")
    start, end, whole = 0, new, True
    path: list[bytes] = []
    while old != end:
        middle = start + split(end - start)
        if old <= middle:
            path.append(range_root(middle, end, subtree))
            end = middle
        else:
            path.append(range_root(start, middle, subtree))
            start, whole = middle, False
    if not whole:
        path.append(range_root(start, end, subtree))
    return path[::-1]


def extends(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the path proves that the new tree begins with the old one (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not hashes:
        return False
    low, last = old - 1, new - 1
    while low & 1:
        low, last = low >> 1, last >> 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if low & 1 or low == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not low & 1 and low:
                low, last = low >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        low, last = low >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root
