"""Engines behind the registry's ports."""
