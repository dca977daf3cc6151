"""Sliding windows: one definition, compiled to SQL for training sets and to a small state for serving."""
