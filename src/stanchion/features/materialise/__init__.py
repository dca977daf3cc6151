"""Fills the online side from a view's source, partition by partition, so that a kill at any moment loses nothing."""
