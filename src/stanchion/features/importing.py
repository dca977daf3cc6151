"""Declarations of other feature stores as ours."""

from __future__ import annotations


def feast_declarations(registry: bytes) -> str:
    """A Feast registry's bytes (its `registry.db`) as the text of a system file that declares the same features.

    Nothing of the registry is run. What has no form here is told in remarks. Raises MalformedRequest.
    """
    from .feast.source import declared

    return declared(registry)
