"""Forms of clients and the bytes of their calls: read, written, and followed where they only pass through."""
