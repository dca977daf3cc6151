"""The public side over HTTP: what routes see, and the door in front of them."""

from .routes import Routes, context_of, hot_route, json_response, row_of

__all__ = ["Routes", "context_of", "hot_route", "json_response", "row_of"]
