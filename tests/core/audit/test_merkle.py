from __future__ import annotations

import pytest

from stanchion.core.security.audit.merkle import (
    CompactRange,
    Subtree,
    includes,
    inclusion_path,
    leaf_hash,
    node_hash,
    range_at,
)
from stanchion.testing.consistency import consistency_path, extends

# The vectors of the Certificate Transparency reference implementation.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(tree_hash(leaves[:k]), tree_hash(leaves[k:]))


def subtrees(leaves: list[bytes]) -> Subtree:
    return lambda level, place: tree_hash(leaves[place << level : (place + 1) << level])


def grown(leaves: list[bytes]) -> CompactRange:
    tree = CompactRange()
    for leaf in leaves:
        tree.push(leaf_hash(leaf))
    return tree


MANY = [str(n).encode() for n in range(70)]


def test_the_empty_tree_has_the_root_of_the_standard() -> None:
    assert CompactRange().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert grown(LEAVES[:size]).root().hex() == ROOTS[size - 1]


@pytest.mark.parametrize("case", INCLUSION)
def test_inclusion_paths_are_those_of_certificate_transparency(case: tuple[int, int]) -> None:
    path = inclusion_path(*case, subtrees(LEAVES[: case[1]]))
    if case == (5, 8):  # the first hash of this vector is the neighbour's leaf
        assert path[0] == leaf_hash(LEAVES[4])
    assert [value.hex() for value in path] == INCLUSION[case]


@pytest.mark.parametrize("case", CONSISTENCY)
def test_consistency_paths_are_those_of_certificate_transparency(case: tuple[int, int]) -> None:
    assert [v.hex() for v in consistency_path(*case, subtrees(LEAVES))] == CONSISTENCY[case]


@pytest.mark.parametrize("size", range(1, 71))
def test_every_leaf_of_every_small_tree_is_proved(size: int) -> None:
    subtree, root = subtrees(MANY[:size]), grown(MANY[:size]).root()
    for index in range(size):
        path = inclusion_path(index, size, subtree)
        leaf = leaf_hash(MANY[index])
        assert includes(leaf, index, size, path, root)
        assert not includes(leaf_hash(b"other"), index, size, path, root)
        assert not includes(leaf, (index + 1) % size, size, path, root) or size == 1
        assert not includes(leaf, index, size, [*path, root], root)
        assert not path or not includes(leaf, index, size, path[:-1], root)


@pytest.mark.parametrize("new", range(1, 41))
def test_every_small_tree_is_proved_to_begin_with_every_smaller_one(new: int) -> None:
    subtree = subtrees(MANY)
    roots = {size: grown(MANY[:size]).root() for size in range(1, new + 1)}
    for old in range(1, new + 1):
        path = consistency_path(old, new, subtree)
        assert extends(old, new, roots[old], roots[new], path)
        assert not extends(old, new, leaf_hash(b"other"), roots[new], path)
        assert not extends(old, new, roots[old], leaf_hash(b"other"), path)
        assert not extends(old, new, roots[old], roots[new], [*path, roots[old]])
        assert not path or not extends(old, new, roots[old], roots[new], path[:-1])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 13, 64, 69])
def test_a_compact_range_survives_packing_and_is_found_again_from_subtrees(size: int) -> None:
    tree = grown(MANY[:size])
    assert range_at(size, subtrees(MANY)).packed() == tree.packed()
    again = CompactRange(size, tree.packed())
    again.push(leaf_hash(b"next"))
    assert again.root() == grown([*MANY[:size], b"next"]).root()


def test_a_compact_range_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="one hash for each bit"):
        CompactRange(3, bytes(32))


def test_completed_subtrees_from_level_eight_up_are_told_once() -> None:
    leaves = [str(n).encode() for n in range(600)]
    made = grown(leaves).completed
    assert [(node.level, node.place) for node in made] == [(8, 0), (8, 1), (9, 0)]
    assert all(node.hash == subtrees(leaves)(node.level, node.place) for node in made)


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (4, 4), (0, 0)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in the tree"):
        inclusion_path(index, size, subtrees(MANY))
    assert not includes(leaf_hash(b""), index, size, [], bytes(32))


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3)])
def test_a_tree_cannot_begin_with_an_empty_or_a_larger_one(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="no larger"):
        consistency_path(old, new, subtrees(MANY))
    assert not extends(old, new, bytes(32), bytes(32), [])
