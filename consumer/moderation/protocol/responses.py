"""What comes back, in one place to import from: answers, findings, and the answers of multimodal tasks."""

from __future__ import annotations

from consumer.moderation.protocol.answers import Answer, Layer, is_judged, read, read_content
from consumer.moderation.protocol.findings import Finding, category_of, read_finding
from consumer.moderation.protocol.multimodal_answers import read_parts, task_id_of


__all__ = [
    "Answer",
    "Finding",
    "Layer",
    "category_of",
    "is_judged",
    "read",
    "read_content",
    "read_finding",
    "read_parts",
    "task_id_of",
]
