"""Engines of training: the worker process and the folders it writes to."""
