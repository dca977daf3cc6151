"""Batching in the server: calls that wait together become one run of the model."""

from .batcher import Batcher, Ranked, Shed

__all__ = ["Batcher", "Ranked", "Shed"]
