"""The services the simulator offers: which operation calls each, which labels it knows, and what it bills."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


__all__ = ["SERVICES", "Labels", "Service", "find"]


Labels = Literal["text_mainland", "text_international", "image_baseline", "image_aigc"]


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `moderation_type` names its row of the price list in `consumer.simulator.ledger`."""

    name: str
    operation: str
    labels: Labels
    moderation_type: str


SERVICES: dict[str, Service] = {
    service.name: service
    for service in (
        Service("ugc_moderation_byllm", "TextModerationPlus", "text_mainland", "text_llm_standard"),
        Service("ugc_moderation_byllm_pro", "TextModerationPlus", "text_mainland", "text_llm_standard"),
        Service("aigc_moderation_byllm", "TextModerationPlus", "text_mainland", "text_llm_standard"),
        Service("ugc_moderation_byllm_cb", "TextModerationPlus", "text_international", "text_llm_advanced"),
        Service("baselineCheck_global", "ImageModeration", "image_baseline", "image_standard"),
        Service("aigcDetector_global", "ImageModeration", "image_aigc", "image_standard"),
    )
}

_COPY = re.compile(r"_\d{2}\Z")


def find(operation: str, name: str) -> Service | None:
    """The service of this operation by its name, or None.

    A copy made in the console has its original's name with a suffix such as `_01`, and behaves like it.
    """
    service = SERVICES.get(name) or SERVICES.get(_COPY.sub("", name))
    return service if service is not None and service.operation == operation else None
