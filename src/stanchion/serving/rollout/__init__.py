"""Two versions of a model at once: who answers whom, what is observed of both, and which of them stays."""
