"""The RAM role of the ECS instance that this runs on, asked of its metadata service in the hardened mode (IMDSv2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from consumer.errors import CallError, StartError
from consumer.moderation.credentials.http import ask
from consumer.moderation.credentials.lease import lease_from


if TYPE_CHECKING:
    from consumer.moderation.credentials.lease import Lease


__all__ = ["METADATA_URL", "InstanceRole"]


METADATA_URL = "http://100.100.100.200"
"""The same on every ECS instance."""

_ROLES = "/latest/meta-data/ram/security-credentials/"
# The metadata service is on the same host: what takes longer is not there.
_SECONDS = 3.0
# The token is used for the two requests that follow it.
_TOKEN_LIFE_SECONDS = "60"  # noqa: S105  # its life, not the token
_NO_INSTANCE = "run on an ECS instance with a RAM role, or choose another moderation.credentials.provider"


class InstanceRole:
    """Fetches the credentials of the instance's role.

    Args:
        role: the role's name; the instance is asked for it when None.
        url: where the metadata service is.
    """

    def __init__(self, role: str | None, url: str) -> None:
        self._role = role
        self._url = url

    async def fetch(self) -> Lease:
        """The credentials of the role; see `Provider`."""
        life = {"x-aliyun-ecs-metadata-token-ttl-seconds": _TOKEN_LIFE_SECONDS}
        token = await self._text("PUT", "/latest/api/token", life, "a token", _NO_INSTANCE)
        headers = {"x-aliyun-ecs-metadata-token": token}
        role = self._role or await self._text(
            "GET", _ROLES, headers, "the name of the role", "attach a RAM role to the instance"
        )
        what = f"the credentials of the role {role}"
        remedy = f"attach the RAM role {role} to the instance, or correct moderation.credentials.instance_role"
        answer = await self._text("GET", _ROLES + quote(role, safe=""), headers, what, remedy)
        try:
            document: Any = orjson.loads(answer)
            if document.get("Code") != "Success":
                raise ValueError("its code is not Success")  # noqa: TRY301  # one place says what cannot be read
            return lease_from(document)
        except (ValueError, AttributeError) as error:
            raise StartError(f"the metadata service gives {what} in an unreadable form: {error}", remedy) from error

    async def _text(self, method: str, path: str, headers: dict[str, str], what: str, remedy: str) -> str:
        try:
            status, body = await ask(method, self._url + path, headers=headers, seconds=_SECONDS)
        except CallError as error:
            raise StartError(f"the metadata service at {self._url} does not answer: {error}", _NO_INSTANCE) from error
        text = body.decode(errors="replace").strip()
        if status != 200 or not text:
            raise StartError(f"the metadata service does not give {what}: HTTP {status}", remedy)
        return text
