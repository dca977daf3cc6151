"""How good reviews are: agreement between reviewers, and figures of their work."""
