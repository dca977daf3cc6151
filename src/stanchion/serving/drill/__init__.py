"""Faults on purpose: a rung fails, slows down or hangs for a while, so that the ladder below it is seen to hold."""
