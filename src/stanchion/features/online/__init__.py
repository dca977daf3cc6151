"""Online values: stored by key, read as vectors, and told of when they change."""
