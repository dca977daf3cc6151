"""Scores, and the comparison of variants by cost, latency and score."""
