"""Engines behind the feature store's ports: DuckDB and tables of all kinds offline, the log of pushed rows in SQL."""
