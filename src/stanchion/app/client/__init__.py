"""The client: predictions of a running system in typed Python, sync and async. Its library is the extra `client`.

Importing it costs next to nothing: what speaks HTTP is loaded when a client is made.
"""

from .asynchronous import AsyncClient
from .batching import Batching, ThreadBatching
from .outcomes import Outcome, Outcomes, Refused
from .synchronous import Client

__all__ = ["AsyncClient", "Batching", "Client", "Outcome", "Outcomes", "Refused", "ThreadBatching"]
