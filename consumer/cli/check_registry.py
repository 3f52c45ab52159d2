"""Whether the schema registry that a configuration names is there, and lets us in; no schema is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.cli.check_connect import Finding, expiring
from consumer.errors import StartError


if TYPE_CHECKING:
    from consumer.settings.models import Settings


__all__ = ["try_registry"]


async def try_registry(settings: Settings) -> list[Finding]:
    """What is to be said of the schema registry; nothing where no record needs one. Cancelling it ends the request."""
    if settings.format.schema_registry.url is None:
        return []
    from consumer.clock import SystemClock
    from consumer.intake.formats import formats_for
    from consumer.intake.registry_client import RegistryClient
    from consumer.metrics import Metrics

    try:
        # As a start does it: libraries and files are looked at.
        formats_for(settings.format, clock=SystemClock(), metrics=Metrics())
    except StartError as error:
        return [Finding("format", ok=False, said=str(error), remedy=error.remedy)]
    client = RegistryClient(settings.format.schema_registry)
    try:
        found = Finding("schema registry", ok=True, said=await client.tried())
    except StartError as error:
        found = Finding("schema registry", ok=False, said=str(error), remedy=error.remedy)
    return [found] if client.certificates is None else [found, *expiring(client.certificates).values()]
