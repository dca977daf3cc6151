"""The Merkle tree of RFC 6962 over the event bodies: its root signs for every event, a short path proves one.

Nothing here knows of storage. A proof is made from the hashes of complete subtrees, which a caller supplies as
`subtree(level, place)`: the root over leaves place * 2^level to (place + 1) * 2^level - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

EMPTY_ROOT = sha256(b"").digest()
STORED_LEVEL = 8

Subtree = Callable[[int, int], bytes]


def leaf_hash(body: bytes) -> bytes:
    """RFC 6962, 2.1: the leaf's prefix keeps an inner node from being passed off as an event."""
    return sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962, 2.1."""
    return sha256(b"\x01" + left + right).digest()


def chain_hash(previous: bytes, leaf: bytes) -> bytes:
    """One link of the chain that runs beside the tree; it tells at which event a log was changed."""
    return sha256(b"\x02" + previous + leaf).digest()


CHAIN_START = bytes(32)


class Node(NamedTuple):
    """The root of the complete subtree over leaves place * 2^level to (place + 1) * 2^level - 1."""

    level: int
    place: int
    hash: bytes


class CompactRange:
    """A tree that only grows, as the roots of its complete subtrees from left to right: log2(n) hashes."""

    def __init__(self, size: int = 0, packed: bytes = b"") -> None:
        """Raises ValueError if the packed form does not fit the size."""
        if len(packed) != 32 * size.bit_count():
            raise ValueError("a compact range has one hash for each bit of its size")
        self.size = size
        self._peaks = [packed[i : i + 32] for i in range(0, len(packed), 32)]
        self.completed: list[Node] = []

    def push(self, leaf: bytes) -> None:
        """Append a leaf; subtrees of level 8 and more that it completes are added to `completed`."""
        index, level, peaks = self.size, 0, self._peaks
        while index & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            index >>= 1
            level += 1
            if level >= STORED_LEVEL:
                self.completed.append(Node(level, index, leaf))
        peaks.append(leaf)
        self.size += 1

    def packed(self) -> bytes:
        """The hashes, largest subtree first, 32 bytes each."""
        return b"".join(self._peaks)

    def root(self) -> bytes:
        """The RFC 6962 tree hash."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def range_at(size: int, subtree: Subtree) -> CompactRange:
    """The compact range of the first `size` leaves."""
    peaks, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            peaks.append(subtree(level, start >> level))
            start += 1 << level
    return CompactRange(size, b"".join(peaks))


def inclusion_path(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """RFC 6962, 2.1.1: the audit path of leaf `index` in the tree of `size` leaves, from the leaf upward."""
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    start, end = 0, size
    path: list[bytes] = []
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(range_root(middle, end, subtree))
            end = middle
        else:
            path.append(range_root(start, middle, subtree))
            start = middle
    return path[::-1]


def includes(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path leads from the leaf to the root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    low, last, value = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if low & 1 or low == last:
            value = node_hash(sibling, value)
            while not low & 1 and low:
                low, last = low >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        low, last = low >> 1, last >> 1
    return last == 0 and value == root


def split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def range_root(start: int, end: int, subtree: Subtree) -> bytes:
    """The root of the leaves from `start` to before `end`, which begin where a subtree of their size may begin."""
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return subtree(level, start >> level)
    middle = start + split(size)
    return node_hash(range_root(start, middle, subtree), range_root(middle, end, subtree))
