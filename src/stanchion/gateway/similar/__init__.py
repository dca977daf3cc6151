"""Answers given again to questions that mean the same, where a route declares it."""
