"""Feature values of entities, fresh or not at all, and the same for training as for serving."""

from .contract import *
from .contract import __all__ as _contract
from .importing import feast_declarations

__all__ = [*_contract, "feast_declarations"]
