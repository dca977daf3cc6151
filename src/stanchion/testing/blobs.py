"""The contract of Blobs as tests: subclass `BlobsSuite` and give it an empty store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stanchion.core.errors import InvalidInput, NotFound
from stanchion.core.storage import Blobs

# One test for many subclasses, whose store empties itself before each example.
_SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
_parts = st.text("ab.-_=A9", min_size=1, max_size=4).filter(lambda part: part not in (".", ".."))
_names = st.lists(_parts, min_size=1, max_size=3).map("/".join)

BAD_NAMES = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "../a",
    "a/./b",
    "a b",
    "a\\b",
    "é",
    "a\n",
    "a%",
    "a+",
    "a~",
]


class BlobsSuite:
    """Override the fixture `blobs`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def blobs(self) -> Blobs:
        raise NotImplementedError("override the fixture `blobs`")

    @pytest_asyncio.fixture(autouse=True)
    async def closed_afterwards(self, blobs: Blobs) -> AsyncIterator[None]:
        yield
        await blobs.close()

    @pytest.mark.parametrize("content", [b"", b"\x00\xff\r\n", b"x" * 3_000_000], ids=["empty", "binary", "3 MB"])
    async def test_content_comes_back_as_it_was(self, blobs: Blobs, content: bytes) -> None:
        await blobs.put("models/churn/1.0.0/model.onnx", content)
        assert await blobs.get("models/churn/1.0.0/model.onnx") == content
        pieces = [piece async for piece in blobs.read("models/churn/1.0.0/model.onnx", chunk=1 << 20)]
        assert b"".join(pieces) == content
        assert all(0 < len(piece) <= 1 << 20 for piece in pieces)

    async def test_a_piece_is_at_most_as_long_as_asked(self, blobs: Blobs) -> None:
        await blobs.put("a", b"0123456789")
        pieces = [piece async for piece in blobs.read("a", chunk=3)]
        assert b"".join(pieces) == b"0123456789"
        assert all(0 < len(piece) <= 3 for piece in pieces)
        with pytest.raises(InvalidInput):
            await anext(blobs.read("a", chunk=0))

    async def test_a_later_put_replaces_the_content(self, blobs: Blobs) -> None:
        await blobs.put("a", b"a long first content")
        await blobs.put("a", b"short")
        assert await blobs.get("a") == b"short"
        assert [name async for name in blobs.list()] == ["a"]

    async def test_what_is_not_there_is_not_found(self, blobs: Blobs) -> None:
        await blobs.put("a/b", b"")
        for name in ["b", "a", "a/b/c"]:
            with pytest.raises(NotFound):
                await blobs.get(name)
            with pytest.raises(NotFound):
                await anext(blobs.read(name))
            assert not await blobs.delete(name)

    async def test_delete_tells_whether_it_was_there(self, blobs: Blobs) -> None:
        await blobs.put("a/b", b"x")
        assert await blobs.delete("a/b")
        assert not await blobs.delete("a/b")
        assert [name async for name in blobs.list()] == []
        await blobs.put("a", b"the folder's name is free again")

    async def test_a_name_may_also_be_the_beginning_of_others(self, blobs: Blobs) -> None:
        for name in ["a/b/c", "a", "a/b"]:
            await blobs.put(name, name.encode())
        assert [await blobs.get(name) for name in ["a", "a/b", "a/b/c"]] == [b"a", b"a/b", b"a/b/c"]
        assert await blobs.delete("a")
        assert [name async for name in blobs.list()] == ["a/b", "a/b/c"]

    async def test_a_list_is_in_ascending_order_of_code_points(self, blobs: Blobs) -> None:
        names = ["B", "a", "a-b", "a.b", "a/b", "a/b/c", "a=b", "a_b", "ab"]
        for name in reversed(names):
            await blobs.put(name, b"")
        assert [name async for name in blobs.list()] == names

    async def test_a_prefix_may_end_anywhere(self, blobs: Blobs) -> None:
        for name in ["a", "ab", "a/b", "a/bc", "a/b/c", "b"]:
            await blobs.put(name, b"")
        for prefix in ["a", "a/", "a/b", "a/b/", "ab", "b", "c", "a//", "../", "/", "a/../", "é"]:
            found = [name async for name in blobs.list(prefix)]
            assert found == [name for name in ["a", "a/b", "a/b/c", "a/bc", "ab", "b"] if name.startswith(prefix)]

    @pytest.mark.parametrize("name", BAD_NAMES)
    async def test_a_name_outside_the_rules_is_refused(self, blobs: Blobs, name: str) -> None:
        with pytest.raises(InvalidInput):
            await blobs.put(name, b"")
        with pytest.raises(InvalidInput):
            await blobs.get(name)
        with pytest.raises(InvalidInput):
            await anext(blobs.read(name))
        with pytest.raises(InvalidInput):
            await blobs.delete(name)

    async def test_a_name_has_at_most_512_characters(self, blobs: Blobs) -> None:
        longest = "/".join(["p" * 127] * 4) + "x"
        await blobs.put(longest, b"x")
        assert [name async for name in blobs.list("p")] == [longest]
        with pytest.raises(InvalidInput):
            await blobs.put(longest + "x", b"")
        await blobs.put("x" * 240, b"")
        with pytest.raises(InvalidInput):
            await blobs.put("x" * 241, b"")

    async def test_a_reader_never_meets_a_mixture(self, blobs: Blobs) -> None:
        versions = {bytes([65 + number]) * 200_000 for number in range(8)}
        await blobs.put("a", min(versions))

        async def look() -> set[bytes]:
            return {await blobs.get("a") for _ in range(10)}

        looking = asyncio.create_task(look())
        await asyncio.gather(*(blobs.put("a", version) for version in versions))
        assert await looking <= versions
        assert await blobs.get("a") in versions

    @settings(max_examples=15, deadline=None, suppress_health_check=_SHARED)
    @given(names=st.sets(_names, max_size=8), prefix=st.text("ab/.", max_size=3))
    async def test_any_names_are_kept_apart_and_listed_in_order(
        self, blobs: Blobs, names: set[str], prefix: str
    ) -> None:
        for name in [name async for name in blobs.list()]:
            await blobs.delete(name)
        for name in names:
            await blobs.put(name, name.encode())
        assert [name async for name in blobs.list()] == sorted(names)
        assert [name async for name in blobs.list(prefix)] == sorted(n for n in names if n.startswith(prefix))
        assert [await blobs.get(name) for name in names] == [name.encode() for name in names]
