"""Which services' texts may be packed: those that judge a text by itself, and are billed by the call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from consumer.moderation.protocol.billing import LIST_PRICES, bill
from consumer.moderation.protocol.requests import Call


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from consumer.moderation.protocol.services import Service
    from consumer.settings.moderation import Service as ServiceSettings


__all__ = ["packable", "why_not"]


# A copy made in the console has the name of its original with a suffix.
_PROFESSIONAL = re.compile(r"_pro(_|\Z)")
_FOR_MODELS = "llm_"


def packable(
    services: Mapping[str, Service], own: Mapping[str, ServiceSettings], chosen: Collection[str]
) -> frozenset[str]:
    """The names of the services whose texts are packed: all that may be, or those of them that were chosen.

    Args:
        services: all services, as `consumer.moderation.protocol.services.resolve` gives them.
        own: the configured ones among them.
        chosen: the configured choice; all when empty.
    """
    return frozenset(
        name for name, service in services.items() if why_not(service, own) is None and (not chosen or name in chosen)
    )


def why_not(service: Service, own: Mapping[str, ServiceSettings]) -> str | None:
    """Why texts of this service are never packed; None where they may be. `own` are the configured services."""
    if service.media != "text":
        return "it judges no texts by themselves"
    names = _likeness(service.name, own)
    if any(name.startswith(_FOR_MODELS) for name in names):
        return "it judges what is said to a model and by one, and says more of it than a risk level"
    if any(_PROFESSIONAL.search(name) for name in names):
        return "a service ending in `_pro` judges in context, and what stands beside a text is none of it"
    if service.info_type:
        return "it is asked for more than a risk level (info_type), and would say it of all texts together"
    whole = Call(service, characters=service.max_characters)
    if sum(line.units for line in bill(whole, LIST_PRICES)) != 1:
        return "it is billed by the length of its texts"
    return None


def _likeness(name: str, own: Mapping[str, ServiceSettings]) -> list[str]:
    """The service's name, and those of the services it is a copy of."""
    names = [name]
    while (copy := own.get(names[-1])) is not None and copy.like not in names:
        names.append(copy.like)
    return names
