"""The RAM role of the instance: what the metadata service is asked, and what its answers mean."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.errors import StartError
from consumer.moderation.credentials.instance import InstanceRole
from consumer.moderation.credentials.lease import Lease
from consumer.moderation.protocol.signing import Credentials
from tests.moderation.credentials.places import DOCUMENT, ROLES, Metadata, serving


__all__: list[str] = []


EXPIRES_AT = datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC).timestamp()


def fetch(metadata: Metadata, role: str | None = None) -> Lease:
    async def main() -> Lease:
        async with serving(metadata) as url:
            return await InstanceRole(role, url).fetch()

    return asyncio.run(main())


def test_the_instance_is_asked_for_its_role() -> None:
    """Without a configured role the instance names it; each request carries the token that was put for it."""
    metadata = Metadata()
    assert fetch(metadata) == Lease(Credentials("STS.id", "sts-secret", "sts-token"), EXPIRES_AT)
    assert metadata.asked == ["PUT /latest/api/token", f"GET {ROLES}", f"GET {ROLES}moderator"]


def test_a_configured_role_is_not_asked_for() -> None:
    """With a configured role its credentials are fetched directly."""
    metadata = Metadata()
    assert fetch(metadata, "moderator").expires_at == EXPIRES_AT
    assert metadata.asked == ["PUT /latest/api/token", f"GET {ROLES}moderator"]


@pytest.mark.parametrize(
    ("metadata", "role", "said", "remedy"),
    [
        (Metadata(role=None), None, "does not give the name of the role: HTTP 404", "attach a RAM role"),
        (Metadata(), "other", "does not give the credentials of the role other: HTTP 404", "instance_role"),
        (Metadata(document={"Code": "Failed"}), None, "its code is not Success", "moderator"),
        (Metadata(document={"Code": "Success"}), None, "a part of the credentials is missing", "moderator"),
        (Metadata(document={**DOCUMENT, "Code": "Success", "Expiration": "soon"}), None, "unreadable form", ""),
        (Metadata(document={**DOCUMENT, "Code": "Success", "Expiration": "2026-01-01T00:00"}), None, "zone", ""),
        (Metadata(document=b"<html>"), None, "unreadable form", "moderator"),
        (Metadata(document=b"[]"), None, "unreadable form", "moderator"),
        (Metadata(document=b" " * 70_000), None, "does not answer", "choose another"),
    ],
)
def test_what_cannot_be_had_is_said(metadata: Metadata, role: str | None, said: str, remedy: str) -> None:
    """Whatever the metadata service answers instead of credentials is an error with a remedy, and no secret in it."""
    with pytest.raises(StartError, match=said) as caught:
        fetch(metadata, role)
    assert remedy in caught.value.remedy
    assert "secret" not in str(caught.value)


def test_a_machine_without_a_metadata_service() -> None:
    """Where nothing listens, the remedy is another machine or another provider."""

    async def main() -> Any:
        async with serving(Metadata()) as url:
            pass
        await InstanceRole(None, url).fetch()

    with pytest.raises(StartError, match="does not answer: ClientConnectorError") as caught:
        asyncio.run(main())
    assert "moderation.credentials.provider" in caught.value.remedy
