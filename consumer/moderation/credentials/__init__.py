"""Where credentials come from, and how they are renewed before they expire."""

from __future__ import annotations

from consumer.moderation.credentials.choice import source_from
from consumer.moderation.credentials.source import CredentialsSource, FixedCredentials, OwnedCredentials


__all__ = ["CredentialsSource", "FixedCredentials", "OwnedCredentials", "source_from"]
