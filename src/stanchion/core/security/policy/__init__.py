"""Cedar policies: the schema made from contracts, the built-in policies, each tenant's own, and store filters."""
