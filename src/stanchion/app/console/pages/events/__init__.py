"""The pages of events: consumers and how far they lag, dead letters, and what came of one event."""
