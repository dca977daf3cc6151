"""Contracts between processes: the far side is one more backend."""

from .client import Issuer, Line, connect
from .server import Inspector, serve

__all__ = ["Inspector", "Issuer", "Line", "connect", "serve"]
