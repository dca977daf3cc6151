"""Online detectors: each row is scored by what came before it, and then learnt from. Their state is bytes."""
