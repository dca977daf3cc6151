"""The pages of review: what waits for a person, and one item with everything that its reviewer needs."""
