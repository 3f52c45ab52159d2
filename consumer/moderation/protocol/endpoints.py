"""Where the service is called: regions, their public and internal hosts, and endpoints of one's own."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

from consumer.errors import SettingsError


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["MAINLAND", "REGIONS", "Endpoint", "endpoint_for", "fallback_for", "region_for", "region_of"]


# The text and image pages' tables of endpoints; True where there is an internal (VPC) one. For Frankfurt the image
# page has none and the text page has one.
REGIONS: Mapping[str, bool] = MappingProxyType(
    {
        "cn-shanghai": True,
        "cn-beijing": True,
        "cn-hangzhou": True,
        "cn-shenzhen": True,
        "cn-chengdu": False,
        "cn-hongkong": True,
        "ap-southeast-1": True,
        "us-east-1": True,
        "us-west-1": False,
        "eu-central-1": True,
        "eu-west-1": False,
    }
)
MAINLAND = frozenset({"cn-shanghai", "cn-beijing", "cn-hangzhou", "cn-shenzhen", "cn-chengdu"})

_OF_A_REGION = re.compile(r"green-cip(?:-vpc)?\.([a-z0-9-]+)\.aliyuncs\.com(?::\d+)?")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place to call: `host` is what the header says and the signature covers, with the port unless it is usual."""

    scheme: Literal["http", "https"]
    host: str

    @property
    def url(self) -> str:
        """The address of its only path."""
        return f"{self.scheme}://{self.host}/"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a host, `host:port`, `https://host` or `http://host:port`.

        Raises:
            ValueError: it is something else.
        """
        try:
            parts = urlsplit(text if "://" in text else f"https://{text}")
            port = parts.port
        except ValueError:
            raise _no_endpoint(text) from None
        extras = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in {"http", "https"} or not parts.hostname or extras or re.search(r"\s", text):
            raise _no_endpoint(text)
        scheme: Literal["http", "https"] = "http" if parts.scheme == "http" else "https"
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        usual = 80 if scheme == "http" else 443
        return cls(scheme, name if port in {None, usual} else f"{name}:{port}")


def endpoint_for(region: str | None, network: Literal["public", "vpc"], endpoint: str | None = None) -> Endpoint:
    """Where to call: the endpoint if there is one, else that of the region on this network.

    Raises:
        SettingsError: the region is not known or has no internal endpoint, the endpoint is none, or neither is set.
    """
    if endpoint is not None:
        try:
            return Endpoint.parse(endpoint)
        except ValueError as error:
            raise SettingsError([f"moderation.endpoint: {error}"]) from None
    if region is None:
        raise SettingsError(["moderation.region: is missing; set it, or `moderation.endpoint`"])
    internal = REGIONS.get(region)
    if internal is None:
        near = difflib.get_close_matches(region, REGIONS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(REGIONS)}."
        raise SettingsError(
            [f"moderation.region: there is no region `{region}`; {hint} A new one needs `moderation.endpoint`."]
        )
    if network == "vpc" and not internal:
        raise SettingsError([f"moderation.network: `{region}` has no VPC endpoint; use `public`"])
    product = "green-cip-vpc" if network == "vpc" else "green-cip"
    return Endpoint("https", f"{product}.{region}.aliyuncs.com")


def fallback_for(endpoint: str | None) -> Endpoint | None:
    """Where to call while no connection to the first endpoint can be made; None where there is no such place.

    Raises:
        SettingsError: it is no endpoint.
    """
    if endpoint is None:
        return None
    try:
        return Endpoint.parse(endpoint)
    except ValueError as error:
        raise SettingsError([f"moderation.fallback_endpoint: {error}"]) from None


def region_of(endpoint: Endpoint) -> str | None:
    """The region that an endpoint of the vendor's names; None for a simulator or a proxy."""
    match = _OF_A_REGION.fullmatch(endpoint.host)
    return match[1] if match else None


def region_for(region: str | None, network: Literal["public", "vpc"], endpoint: str | None) -> str | None:
    """The region that is called: the one that is set, else that of the endpoint; None where that names none.

    Raises:
        SettingsError: neither is set, or the endpoint is none.
    """
    return region or region_of(endpoint_for(None, network, endpoint))


def _no_endpoint(text: str) -> ValueError:
    # A password in it must not get into a message.
    shown = "what stands there" if "@" in text else f"`{text}`"
    return ValueError(f"{shown} is no endpoint; expected a host or `http://host:port`")
