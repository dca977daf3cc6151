"""Events over HTTP: in by CloudEvents and webhooks, out by server-sent events and WebSocket."""
