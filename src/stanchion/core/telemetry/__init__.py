"""What happened: one ledger row for each request, spans when sampled, metrics and logs."""
