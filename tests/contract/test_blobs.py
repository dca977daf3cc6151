"""The blob engines keep the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanchion.core.storage import Blobs
from stanchion.core.storage.open import open_blobs
from stanchion.testing.blobs import BlobsSuite


class TestMemory(BlobsSuite):
    @pytest.fixture
    def blobs(self) -> Blobs:
        return open_blobs("memory:")


class TestLocal(BlobsSuite):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        return open_blobs((tmp_path / "some folder").as_uri())


class TestS3(BlobsSuite):
    @pytest.fixture
    def blobs(self, s3_url: str) -> Blobs:
        return open_blobs(s3_url)
