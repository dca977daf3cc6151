"""Durable runs: work that resumes where it stopped."""

from .contract import *
from .contract import __all__ as __all__
