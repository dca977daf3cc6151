"""Checks of requests and answers that need no model of their own."""
