"""How upstreams are reached, and the model that needs none."""
