"""The console at /console: what the system does, what it serves, and who may change it."""

from .ports import ConsoleDoors, Permits, Session, SessionGate
from .routing import routes

__all__ = ["ConsoleDoors", "Permits", "Session", "SessionGate", "routes"]
