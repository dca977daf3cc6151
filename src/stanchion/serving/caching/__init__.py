"""Answers that are given again: for an equal input, or for one that is near enough."""
