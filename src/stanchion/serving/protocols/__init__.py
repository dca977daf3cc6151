"""Predictions over other people's protocols and over streams. Like routes, all of it sees the contract alone."""
