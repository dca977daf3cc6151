"""Cheap answers where they will do: cascades, the checks between their steps, and routers that look at the question."""
