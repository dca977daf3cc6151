"""Contract suites and offline doubles, shipped for users' systems and third-party backends."""

from .network import no_network
from .offline import Offline, offline

__all__ = ["Offline", "no_network", "offline"]
