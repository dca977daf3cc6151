"""The pages of durable runs: what runs, what waits, and what needs somebody."""
