"""Everything that touches a Kafka client; the rest of the program knows its records as plain data."""
