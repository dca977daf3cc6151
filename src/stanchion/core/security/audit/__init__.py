"""The tamper-evident audit log. Built by whoever builds the process; all others use the contract in security."""
