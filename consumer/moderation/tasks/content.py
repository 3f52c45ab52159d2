"""The content of a callback: whether it holds a result, and of which task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.moderation.protocol.answers import is_judged, member, read_content, text_in
from consumer.moderation.protocol.multimodal_answers import task_id_of


if TYPE_CHECKING:
    from consumer.moderation.protocol.responses import Answer


__all__ = ["result_in", "task_in"]


def result_in(content: bytes) -> Answer | None:
    """The result that a callback brings; None where it brings none, whatever its bytes are.

    Only content that says how risky it is counts: a task that still runs, a failure, or half an answer ends nothing,
    since a query brings the whole of it.
    """
    answer = read_content(content)
    if is_judged(answer) and text_in(member(answer.data, "RiskLevel")):
        return answer
    return None


def task_in(content: bytes) -> str | None:
    """The id of the task that the content says it is of; None where it says none, as in the page's own example."""
    return task_id_of(read_content(content))
