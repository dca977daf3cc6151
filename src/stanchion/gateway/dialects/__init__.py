"""How each family of upstreams wants to be asked, and how it answers."""
