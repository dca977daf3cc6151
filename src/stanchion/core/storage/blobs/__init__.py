"""Engines behind the Blobs port."""
