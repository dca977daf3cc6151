"""Predictions through a ladder that always answers if anything can."""

from .contract import *
from .contract import __all__ as _contract
from .sidecar.client import SidecarClient

__all__ = [*_contract, "SidecarClient"]
