"""People in the loop: proposals of models that people decide. This door offers the contract, and nothing else."""

from .contract import *
from .contract import __all__ as __all__
