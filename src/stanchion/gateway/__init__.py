"""One door to every language, embedding and rerank model."""

from .contract import *
from .contract import __all__ as __all__
