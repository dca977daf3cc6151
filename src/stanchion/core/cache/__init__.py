"""The exact cache; its keys hold tenant and rights, so that no caller gets what another may see."""

from .exact import Cache, CacheStats, Found
from .key import CacheKey
from .shared import SecondLevel

__all__ = ["Cache", "CacheKey", "CacheStats", "Found", "SecondLevel"]
