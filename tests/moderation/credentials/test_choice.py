"""From settings to a source: which provider is chosen, and what it gives."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from consumer.clock import SystemClock
from consumer.errors import SettingsError
from consumer.metrics import Metrics
from consumer.moderation.credentials import OwnedCredentials, source_from
from consumer.moderation.protocol.signing import Credentials
from consumer.settings.models import Moderation
from tests.moderation.credentials.places import Metadata, Sts, serving


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


__all__: list[str] = []


def moderation(**credentials: Any) -> Moderation:
    return Moderation.model_validate({"region": "cn-shanghai", "credentials": credentials})


def source(settings: Moderation, reread: Callable[[], Moderation] | None = None) -> OwnedCredentials:
    return source_from(settings, clock=SystemClock(), metrics=Metrics(), reread=reread)


def started(settings: Moderation) -> Credentials:
    async def main() -> Credentials:
        credentials = source(settings)
        await credentials.start()
        return credentials.current

    return asyncio.run(main())


def test_a_configured_key_is_there_at_once() -> None:
    """A static key, with or without a token, needs no start and no task."""
    fixed = source(moderation(access_key_id="id", access_key_secret="secret", security_token="token"))
    assert fixed.current == Credentials("id", "secret", "token")
    asyncio.run(fixed.run())
    assert started(moderation(access_key_id="id", access_key_secret="secret")) == Credentials("id", "secret")


def test_a_key_wins_over_what_would_have_to_be_fetched() -> None:
    """With `auto` a configured key is taken before a role or a profile, as the vendor's libraries do."""
    settings = moderation(access_key_id="id", access_key_secret="secret", role_arn="r", profile="p")
    assert started(settings) == Credentials("id", "secret")


def test_a_role_is_assumed(tmp_path: Path) -> None:
    """With the keys of a service account's role the STS gives the credentials."""
    file = tmp_path / "token"
    file.write_text("token")

    async def main() -> Credentials:
        async with serving(Sts()) as url:
            role = {"role_arn": "r", "oidc_provider_arn": "p", "oidc_token_file": str(file), "sts_endpoint": url}
            credentials = source(moderation(**role))
            await credentials.start()
            return credentials.current

    assert asyncio.run(main()) == Credentials("STS.id", "sts-secret", "sts-token")


def test_a_profile_is_read_again_when_it_was_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that was changed in the profile is taken once the service refuses the old one; `~` is the home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "config.json"

    def write(key: str) -> None:
        profile = {"name": "p", "mode": "AK", "access_key_id": key, "access_key_secret": "s"}
        file.write_text(json.dumps({"current": "p", "profiles": [profile]}))

    async def main() -> list[str]:
        write("old")
        credentials = source(moderation(profile_file="~/config.json"))
        await credentials.start()
        before = credentials.current.access_key_id
        write("new")
        await credentials.reload()
        return [before, credentials.current.access_key_id]

    assert asyncio.run(main()) == ["old", "new"]


def test_the_instance_is_asked_where_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """`provider: instance`, or a role of the instance, asks the metadata service."""

    async def main(settings: Moderation) -> Credentials:
        async with serving(Metadata()) as url:
            monkeypatch.setattr("consumer.moderation.credentials.instance.METADATA_URL", url)
            credentials = source(settings)
            await credentials.start()
            return credentials.current

    for settings in (moderation(provider="instance"), moderation(instance_role="moderator")):
        assert asyncio.run(main(settings)).access_key_id == "STS.id"


@pytest.mark.parametrize(
    ("credentials", "key"),
    [
        ({}, "access_key_id"),
        ({"access_key_id": "id"}, "access_key_secret"),
        ({"provider": "oidc", "role_arn": "r"}, "oidc_provider_arn"),
        ({"provider": "oidc"}, "role_arn"),
        ({"profile": "p"}, "profile_file"),
    ],
)
def test_settings_that_lack_a_key_are_told(credentials: dict[str, Any], key: str) -> None:
    """Settings made in code, without the loader's checks, end in the same kind of error."""
    with pytest.raises(SettingsError, match=f"moderation.credentials.{key}: required, but not set"):
        source(moderation(**credentials))


def test_a_key_in_the_settings_is_read_again_when_it_was_refused() -> None:
    """A secret that was replaced in its file is taken on reload; settings that became faulty change nothing."""
    settings = [moderation(access_key_id="id", access_key_secret=secret) for secret in ("old", "new")]
    broken = False

    def reread() -> Moderation:
        if broken:
            raise SettingsError(["config.yaml: cannot be read"])
        return settings[1]

    fixed = source(settings[0], reread)
    assert fixed.current.access_key_secret == "old"
    asyncio.run(fixed.reload())
    assert fixed.current.access_key_secret == "new"
    broken = True
    with capture_logs() as logs:
        asyncio.run(fixed.reload())
    assert fixed.current.access_key_secret == "new"
    assert logs[0]["problems"] == ["config.yaml: cannot be read"]
