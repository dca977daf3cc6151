"""Engines behind the KeyValue port."""
