"""Traces: one span for each event and each call, from the headers of a record to those of its verdict.

Nothing here is imported unless `tracing.enabled`; see `docs/tracing.md`.
"""
