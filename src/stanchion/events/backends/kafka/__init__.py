"""The bus on Kafka, by confluent-kafka (extra `kafka`)."""
