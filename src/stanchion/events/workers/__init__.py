"""What runs while events are consumed: leases, feeds, handlers and their commits."""
