"""CloudEvents 1.0 on the wire: as JSON alone and in batches, and as HTTP and MQTT messages in binary mode."""
