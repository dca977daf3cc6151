"""Runs under way in this process."""
