"""The bus on Redis Streams, by redis-py (extra `redis`)."""
