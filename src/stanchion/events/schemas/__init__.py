"""The schema registry: what a change of a schema breaks, and versions that break nothing."""
