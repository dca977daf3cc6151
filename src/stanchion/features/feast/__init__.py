"""Feast's ways in: its request for online features over HTTP and gRPC, and its registry as declarations."""
