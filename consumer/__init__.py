"""A sidecar that reads user-generated content from Kafka, has it moderated, and writes one verdict an event."""

__all__ = ["__version__"]


__version__ = "0.1.0"
