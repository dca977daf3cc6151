"""Streams in event time: windows that close by watermarks, features as of each event, detectors that learn as they go.

Everything here is arithmetic over one key's state: what is kept where, and committed with what, is above it.
"""
