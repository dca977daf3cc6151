"""The gateway over HTTP, in the shapes that clients already speak."""
