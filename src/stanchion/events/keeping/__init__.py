"""What the house's database keeps about events, whatever the bus: positions, handled events, retries, dead letters."""
