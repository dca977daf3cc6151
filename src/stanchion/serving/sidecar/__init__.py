"""The AI sidecar: a flag, a time limit and a guard band between a model's value and the service that uses it."""
