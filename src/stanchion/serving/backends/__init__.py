"""Engines of serving: what runs a graph."""
