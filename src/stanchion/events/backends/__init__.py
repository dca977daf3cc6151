"""Engines of the bus."""
