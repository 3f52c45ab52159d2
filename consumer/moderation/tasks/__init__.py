"""Multimodal tasks: what was submitted, who waits for it, and how its result comes: by callback or by polling."""
