"""Events in and out of Kafka, with effects exactly once."""
