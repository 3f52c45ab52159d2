"""Settings → where credentials come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from consumer.errors import SettingsError
from consumer.moderation.credentials.source import FixedCredentials
from consumer.moderation.protocol.signing import Credentials
from consumer.settings.vendor import KEYS, provider_of


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.moderation.credentials.lease import Provider
    from consumer.moderation.credentials.source import OwnedCredentials
    from consumer.settings.models import Credentials as Settings
    from consumer.settings.models import Moderation


__all__ = ["source_from"]


def source_from(
    moderation: Moderation,
    *,
    clock: Clock,
    metrics: Metrics,
    reread: Callable[[], Moderation] | None = None,
) -> OwnedCredentials:
    """The source that the settings name. Its owner calls `start`, then keeps `run` in a task.

    Args:
        moderation: the settings.
        clock: tells when credentials expire.
        metrics: where the time of expiry is shown.
        reread: reads the settings again, for keys in files that may be replaced while the program runs.

    Raises:
        SettingsError: a key that the provider needs is missing; settings that were loaded have them all.
    """
    own = moderation.credentials
    given = {key for keys in KEYS.values() for key in keys if getattr(own, key) is not None}
    name = own.provider if own.provider != "auto" else provider_of(given) or "static"
    if name == "static":
        again = None if reread is None else lambda: _static(reread().credentials)
        return FixedCredentials(_static(own), again)
    # They bring an HTTP client, which those who only look at settings do without.
    from consumer.moderation.credentials.renewed import RenewedCredentials  # noqa: PLC0415  # the same

    return RenewedCredentials(_provider(name, moderation, clock), clock=clock, metrics=metrics)


def _provider(name: str, moderation: Moderation, clock: Clock) -> Provider:
    from consumer.moderation.credentials.instance import METADATA_URL, InstanceRole  # noqa: PLC0415  # it brings HTTP
    from consumer.moderation.credentials.oidc import OidcRole, sts_endpoint  # noqa: PLC0415  # the same
    from consumer.moderation.credentials.profile import ProfileFile  # noqa: PLC0415  # it is of use beside them only

    own = moderation.credentials
    if name == "oidc":
        return OidcRole(
            endpoint=sts_endpoint(moderation),
            role_arn=_needed("role_arn", own.role_arn),
            provider_arn=_needed("oidc_provider_arn", own.oidc_provider_arn),
            token_file=Path(_needed("oidc_token_file", own.oidc_token_file)),
            clock=clock,
        )
    if name == "profile":
        return ProfileFile(Path(_needed("profile_file", own.profile_file)).expanduser(), own.profile)
    return InstanceRole(own.instance_role, METADATA_URL)


def _static(own: Settings) -> Credentials:
    secret, token = own.access_key_secret, own.security_token
    return Credentials(
        _needed("access_key_id", own.access_key_id),
        _needed("access_key_secret", None if secret is None else secret.get_secret_value()),
        None if token is None else token.get_secret_value(),
    )


def _needed(key: str, value: str | None) -> str:
    if value is None:
        raise SettingsError([f"moderation.credentials.{key}: required, but not set"])
    return value
