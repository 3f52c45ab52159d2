"""Object storage: the address of an object and the signature of the request that puts it there. Pure functions."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.moderation.protocol.signing import Credentials


__all__ = ["object_url", "put_headers", "signature"]


def object_url(endpoint: str, bucket: str, name: str) -> str:
    """Where an object is: below the bucket's own host, or, at an address without names, below the bucket's path.

    Raises:
        ValueError: `endpoint` is neither a host nor an address with `http` or `https`.
    """
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise ValueError("it is no endpoint of object storage")
    path = quote(name, safe="/-_.~")
    if _has_no_names(parts.hostname):
        return f"{parts.scheme}://{parts.netloc}/{bucket}/{path}"
    return f"{parts.scheme}://{bucket}.{parts.netloc}/{path}"


def put_headers(
    credentials: Credentials, *, bucket: str, name: str, content_type: str, content_md5: str, epoch_seconds: float
) -> dict[str, str]:
    """All headers of a PUT of an object, signed; `content_md5` is in base64."""
    date = formatdate(epoch_seconds, usegmt=True)
    own = {} if credentials.security_token is None else {"x-oss-security-token": credentials.security_token}
    signed = signature(
        credentials.access_key_secret,
        verb="PUT",
        content_md5=content_md5,
        content_type=content_type,
        date=date,
        headers=own,
        resource=f"/{bucket}/{name}",
    )
    return {
        "date": date,
        "content-type": content_type,
        "content-md5": content_md5,
        **own,
        "authorization": f"OSS {credentials.access_key_id}:{signed}",
    }


def signature(
    secret: str,
    *,
    verb: str,
    content_md5: str,
    content_type: str,
    date: str,
    headers: Mapping[str, str],
    resource: str,
) -> str:
    """Version 1 of the signature in a header: HMAC-SHA1 in base64, over `x-oss-…` headers by their lower-case names."""
    lines = "".join([f"{name}:{value.strip()}\n" for name, value in sorted(headers.items())])
    to_sign = f"{verb}\n{content_md5}\n{content_type}\n{date}\n{lines}{resource}"
    return base64.b64encode(hmac.digest(secret.encode(), to_sign.encode(), "sha1")).decode("ascii")


def _has_no_names(host: str) -> bool:
    """Whether no name can be put before this host, as in a test on one machine."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
