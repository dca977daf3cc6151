"""Storage ports; `open_database`, `open_keyvalue` and `open_blobs` are in `stanchion.core.storage.open`."""

from .contract import Blobs, Database, Dialect, Journal, KeyValue
from .schema import Schema

__all__ = ["Blobs", "Database", "Dialect", "Journal", "KeyValue", "Schema"]
