"""Chaos: real brokers, real processes, seeded faults, and an audit of what became of every event."""
