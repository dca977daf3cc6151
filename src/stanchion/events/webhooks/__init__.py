"""Webhooks in, whose signatures are checked, and out, signed, retried and kept off private networks."""
