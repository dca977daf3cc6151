"""The journal of predictions, and what became of them: labels, outcomes, and quality by version."""
