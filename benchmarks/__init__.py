"""Benchmarks: each file asks one question, prints one table, and a ratio to a ceiling measured in the same run."""
