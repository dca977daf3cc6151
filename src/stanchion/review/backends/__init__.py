"""Engines behind the ports of review."""
