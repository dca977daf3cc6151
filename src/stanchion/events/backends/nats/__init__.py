"""The bus on NATS JetStream, by nats-py (extra `nats`)."""
