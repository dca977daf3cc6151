"""Tools of other servers: which there are, who may call them, and the call itself."""
