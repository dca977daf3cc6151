"""Batches of calls: files, their lines, and the work on them that outlives a process."""
