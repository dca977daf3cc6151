"""One file for each family of upstreams, and one for the strict reading of its requests."""
