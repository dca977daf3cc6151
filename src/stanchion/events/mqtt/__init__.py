"""MQTT in: what devices publish to a broker becomes events here, acknowledged once it is stored."""
