"""A role for a Kubernetes service account (OIDC; the vendor calls it RRSA): its token is changed for credentials."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from consumer.errors import CallError, StartError
from consumer.moderation.credentials.http import ask
from consumer.moderation.credentials.lease import lease_from
from consumer.moderation.protocol.answers import word_in
from consumer.moderation.protocol.endpoints import Endpoint, region_for


if TYPE_CHECKING:
    from pathlib import Path

    from consumer.clock import Clock
    from consumer.moderation.credentials.lease import Lease
    from consumer.settings.models import Moderation


__all__ = ["OidcRole", "sts_endpoint"]


_VERSION = "2015-04-01"
_SESSION = "moderation-consumer"
# What the role allows at most unless its owner raised it, and what the vendor's libraries ask for.
_LIFE_SECONDS = 3600
_SECONDS = 15.0
_NO_TOKEN = "check moderation.credentials.oidc_token_file, and that the pod's service account has a projected token"  # noqa: S105  # advice, no token
_REFUSED = "check role_arn and oidc_provider_arn, and that the role's trust policy names this service account"


def sts_endpoint(moderation: Moderation) -> Endpoint:
    """Where roles are assumed: as configured, else in the service's region and on the same network."""
    if moderation.credentials.sts_endpoint is not None:
        return Endpoint.parse(moderation.credentials.sts_endpoint)
    region = region_for(moderation.region, moderation.network, moderation.endpoint)
    if region is None:
        return Endpoint("https", "sts.aliyuncs.com")
    return Endpoint("https", f"{'sts-vpc' if moderation.network == 'vpc' else 'sts'}.{region}.aliyuncs.com")


@dataclass(frozen=True, slots=True)
class OidcRole:
    """Assumes a role with the service account's token, which Kubernetes keeps fresh in its file.

    The request (`AssumeRoleWithOIDC` of the STS, 2015-04-01) is not signed: the token is what proves it.
    """

    endpoint: Endpoint
    role_arn: str
    provider_arn: str
    token_file: Path
    clock: Clock

    async def fetch(self) -> Lease:
        """The credentials of the role; see `Provider`."""
        form = {
            "RoleArn": self.role_arn,
            "OIDCProviderArn": self.provider_arn,
            "OIDCToken": self._token(),
            "RoleSessionName": _SESSION,
            "DurationSeconds": str(_LIFE_SECONDS),
        }
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock.now())).replace(":", "%3A")
        query = f"Action=AssumeRoleWithOIDC&Format=JSON&Timestamp={stamp}&Version={_VERSION}"
        url = f"{self.endpoint.url}?{query}"
        try:
            status, body = await ask("POST", url, headers={"accept": "application/json"}, form=form, seconds=_SECONDS)
        except CallError as error:
            raise StartError(
                f"the STS at {self.endpoint.host} does not answer: {error}",
                "check the network, or moderation.credentials.sts_endpoint",
            ) from error
        try:
            document: Any = orjson.loads(body)
            if status == 200:
                return lease_from(document["Credentials"])
            code = word_in(document["Code"]) or "a code of no known form"
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StartError(f"the STS answers HTTP {status} in a form that cannot be read", _REFUSED) from error
        raise StartError(f"the STS does not let us assume {self.role_arn}: {code}", _REFUSED)

    def _token(self) -> str:
        # Read each time, since Kubernetes replaces it; a small file on the node itself holds nobody up.
        try:
            token = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise StartError(f"{self.token_file} cannot be read: {type(error).__name__}", _NO_TOKEN) from error
        if not token:
            raise StartError(f"{self.token_file} is empty", _NO_TOKEN)
        return token
