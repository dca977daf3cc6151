"""The built-in embedder: MiniLM in this process, once its weights have been fetched."""
